package brokers

import (
	"os"
	"testing"
)

// A directory is no module: the one of package redis was taken for python3-redis,
// which was not installed then.
func TestImports(t *testing.T) {
	Need(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("no_such_module", 0o755); err != nil {
		t.Fatal(err)
	}
	if imports("no_such_module") == nil {
		t.Error("a directory is taken for a module")
	}
	if err := imports("redis"); err != nil {
		t.Error(err)
	}
}
