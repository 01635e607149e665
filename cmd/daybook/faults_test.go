//go:build faults

package main_test

func init() { buildFlags = append(buildFlags, "-tags=faults") }
