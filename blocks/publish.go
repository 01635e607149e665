package blocks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"daybook/tsdb/fault"
	"daybook/tsdb/task"
)

// checksumSuffix is what a sealed file's checksum is named by. The file is
// in the format of sha256sum.
const checksumSuffix = ".sha256"

// PublishSealed gives a built file its name in daysDir, then writes its
// checksum. It never replaces a file (fs.ErrExist). After a crash the file is
// under tmp or in daysDir, whole; whoever opens it makes up for a checksum that
// is missing then (compact.Mend).
func PublishSealed(tmpPath, daysDir string, day task.Day, generation int) (path string, err error) {
	path = filepath.Join(daysDir, SealedName(day, generation))
	if err := absent(path); err != nil {
		return "", err
	}
	if err := syncFile(tmpPath); err != nil {
		return "", err
	}
	if err := publish(tmpPath, path); err != nil {
		return "", fmt.Errorf("publishing %s: %w", path, err)
	}
	fault.Point("seal.named")
	return path, WriteChecksum(path, filepath.Dir(tmpPath))
}

// WriteChecksum writes the checksum of a sealed file beside it, by way of
// tmpDir on the same file system.
func WriteChecksum(path, tmpDir string) (err error) {
	sum, err := fileSum(path)
	if err != nil {
		return err
	}
	if err := fault.Op("create", path+checksumSuffix); err != nil {
		return err
	}
	f, err := os.CreateTemp(tmpDir, filepath.Base(path)+checksumSuffix+".*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFiles(tmp))
		}
	}()
	_, err = fmt.Fprintf(fault.Writer(f, tmp), "%s  %s\n", sum, filepath.Base(path))
	if err = errors.Join(err, f.Chmod(0o444), fault.Op("sync", tmp), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = rename(tmp, path+checksumSuffix); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// fileSum is the SHA-256 of a sealed file, in hex.
func fileSum(path string) (string, error) {
	if err := fault.Op("open", path); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// RemoveSealed deletes a sealed file that no reader has attached any more: the
// checksum first, so that a checksum always has its file. It can be redone.
func RemoveSealed(path string) error {
	if err := removeFiles(path + checksumSuffix); err != nil {
		return err
	}
	fault.Point("sealed.unsummed")
	return removeFiles(path)
}
