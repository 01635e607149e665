//go:build !faults

package tsdb

import "daybook/head/wal"

// logFS is where the log is.
var logFS = wal.OS
