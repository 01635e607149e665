package compact

import (
	"os"
	"path/filepath"
	"testing"
)

// A file gives its bytes back with its last name.
func TestFreeing(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"alone", "twice", "elsewhere"} {
		if err := os.WriteFile(at(name), make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("twice"), at("second")); err != nil {
		t.Skipf("needs a file system with hard links: %v", err)
	}
	if err := os.Link(at("elsewhere"), filepath.Join(t.TempDir(), "other")); err != nil {
		t.Fatal(err)
	}
	s, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	one := s.files[at("alone")].bytes
	if one < 8192 || s.total != 3*one {
		t.Errorf("%d bytes in all, %d for one", s.total, one)
	}
	f := s.freeing()
	for _, c := range []struct {
		name string
		want int64
	}{{"alone", one}, {"second", 0}, {"twice", one}, {"elsewhere", 0}, {"nothing", 0}} {
		if got := f(at(c.name)); got != c.want {
			t.Errorf("%s gives back %d, want %d", c.name, got, c.want)
		}
	}
	if got := s.freeing()(at("twice")); got != 0 {
		t.Errorf("a second account begins with %d", got)
	}
}
