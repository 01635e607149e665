package wal

import (
	"io/fs"
	"path/filepath"
)

// moved is the operating system's file system with testDir elsewhere.
type moved struct{ dir string }

func (m moved) at(path string) string {
	rel, err := filepath.Rel(testDir, path)
	if err != nil {
		panic(err)
	}
	return filepath.Join(m.dir, rel)
}

func (m moved) MkdirAll(dir string) error                 { return osFS{}.MkdirAll(m.at(dir)) }
func (m moved) ReadDir(dir string) ([]fs.DirEntry, error) { return osFS{}.ReadDir(m.at(dir)) }
func (m moved) Open(path string) (File, error)            { return osFS{}.Open(m.at(path)) }
func (m moved) OpenWrite(path string) (File, error)       { return osFS{}.OpenWrite(m.at(path)) }
func (m moved) Create(path string) (File, error)          { return osFS{}.Create(m.at(path)) }
func (m moved) Rename(from, to string) error              { return osFS{}.Rename(m.at(from), m.at(to)) }
func (m moved) Remove(path string) error                  { return osFS{}.Remove(m.at(path)) }
func (m moved) SyncDir(dir string) error                  { return osFS{}.SyncDir(m.at(dir)) }
