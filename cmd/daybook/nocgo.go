//go:build !cgo

package main

// Without cgo go-sqlite3 compiles to a stub that fails at run time. This import
// cannot be resolved without cgo, and its path says what to do about it.
import _ "daybook/cmd/internal/daybook_needs_cgo_install_gcc_and_set_CGO_ENABLED_1"
