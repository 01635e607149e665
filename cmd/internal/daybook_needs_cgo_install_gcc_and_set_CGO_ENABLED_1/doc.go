//go:build cgo

// Package needscgo exists only when cgo does: see cmd/daybook/nocgo.go, which
// imports it when cgo is missing so that a build without cgo ends at once, with
// this directory's name as the message.
package needscgo
