package compact

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"daybook/blocks"
)

// A stop gives back what SQLite had beside the live files, and a start needs it again:
// if the disk is full by then, even what only reads and deletes could not begin. So a
// stop leaves a file in tmp/, which a start empties first.
const (
	// sideBytes is what opening a live file takes: the index of its WAL, 32 KiB, and
	// what the file system needs to note it.
	sideBytes = 64 << 10
	// reserveBytes is for the log, a new file of parked invocations and the LOCK file.
	reserveBytes = 512 << 10
)

// needs is how much opening the directory takes, in bytes.
func (c *Compactor) needs() int64 {
	entries, _ := os.ReadDir(c.dirs.live)
	n := int64(1)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".db") {
			n++
		}
	}
	return reserveBytes + n*sideBytes
}

// keepReserve makes the reserve, as large as the disk allows: on a full one that is
// what closing the files has just given back. It is best effort: without it a start
// on a disk with room is the same.
func (c *Compactor) keepReserve() {
	f, err := os.OpenFile(filepath.Join(c.dirs.tmp, "reserve"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	// Bytes that no file system can store in less.
	_, _ = io.CopyN(f, rand.NewChaCha8([32]byte{}), c.needs())
	_ = f.Sync() // now, or the room is somebody else's
	_ = f.Close()
}

// tellMissing says what an owner can do about a start for which there is no room.
func (c *Compactor) tellMissing(err error) error {
	missing := c.needs()
	if space, spaceErr := blocks.DiskSpaceOf(c.dirs.root); spaceErr == nil && space.Free < missing {
		missing -= space.Free // else a quota is used up
	}
	return fmt.Errorf("%w: about %d bytes are missing to open the files. Make room: remove what is not Daybook's, or a directory under snapshots/, or move the oldest file of days/ away with its .sha256; never touch live/ and wal/ (%w)", syscall.ENOSPC, missing, err)
}
