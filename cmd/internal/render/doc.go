// Package render prints what the HTTP endpoints and the command line both
// show, so that they show the same bytes.
//
// # Promises
//
// JSON is appended to a buffer without reflection, fields in the order of the
// contract, times as Unix seconds. What is not known is null, never absent.
//
// # What it does not do
//
// No I/O, and nothing that only one of the two shows.
package render
