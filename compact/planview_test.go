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

// What an ordinary user may not list, as lost+found of a file system that is mounted
// here, does not count, and keeps nothing else from being counted.
func TestHiddenDirectories(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("needs an ordinary user, who may not list everything")
	}
	dir := t.TempDir()
	hidden := filepath.Join(dir, "lost+found")
	if err := os.Mkdir(hidden, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(hidden, 0o700) // for who removes it
	if err := os.WriteFile(filepath.Join(dir, "seen"), make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := measure(dir)
	if err != nil || s.total < 8192 || len(s.hidden) != 1 || s.hidden[0] != hidden {
		t.Errorf("%d bytes, hidden %v: %v", s.total, s.hidden, err)
	}
	if s, err := measure(hidden); err == nil {
		t.Errorf("of a data directory that may not be listed: %+v", s)
	}
}
