//go:build faults

package blocks

import "testing"

func TestSQLiteReports(t *testing.T) {
	if !sqliteReports {
		t.Error("this SQLite does not let its system calls be replaced")
	}
}
