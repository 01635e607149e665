//go:build !faults

package fault

import "io"

// Compiled tells whether there is anything in this package.
const Compiled = false

// Point is a moment at which a crash is worth a test.
func Point(string) {}

// Op is called before a file operation, which is not done if it returns an error.
func Op(string, string) error { return nil }

// Writer reports what is written to a file by way of it. A write that fails has
// written half, as on a full disk.
func Writer(w io.Writer, _ string) io.Writer { return w }
