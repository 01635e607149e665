package compact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"daybook/blocks"
	"daybook/tsdb/fault"
)

// Copy writes what could not be linked, durable. check also compares linked
// sealed files with their checksums; one that is damaged is left out. progress,
// which may be nil, is told bytes as they are done. An error of a file that was
// written meanwhile is ErrMoved.
func (k *Capture) Copy(ctx context.Context, check bool, progress func(bytes int64)) error {
	fault.Point("copy.captured")
	if progress == nil {
		progress = func(int64) {}
	}
	if err := k.roomy(); err != nil {
		return err
	}
	for _, p := range k.live { // first: an open read transaction holds a WAL back
		err := p.To(ctx, filepath.Join(k.to, "live", p.Name()), progress)
		if errors.Is(err, blocks.ErrChanged) {
			err = fmt.Errorf("%w: %w", ErrMoved, err)
		}
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
		fault.Point("copy.live")
	}
	for i := range k.files {
		if err := k.copyFile(ctx, &k.files[i], check, progress); err != nil {
			return fmt.Errorf("copying %s: %w", k.files[i].Path, err)
		}
	}
	for _, sub := range []string{"days", "live", "legacy", "."} {
		if err := blocks.SyncDir(filepath.Join(k.to, sub)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// roomy refuses a copy that cannot fit, before it fills the disk.
func (k *Capture) roomy() error {
	var need int64
	for _, p := range k.live {
		need += p.Bytes()
	}
	for _, f := range k.files {
		if f.open != nil {
			need += f.Info.Size()
		}
	}
	space, err := blocks.DiskSpaceOf(k.to)
	if err != nil {
		return fmt.Errorf("asking for the free space of %s: %w", k.to, err)
	}
	if space.Free < need {
		return fmt.Errorf("%d bytes are to be copied and %d are free: %w", need, space.Free, syscall.ENOSPC)
	}
	return nil
}

func (k *Capture) copyFile(ctx context.Context, f *captured, check bool, progress func(int64)) error {
	to := filepath.Join(k.to, f.Path)
	day := strings.HasPrefix(f.Path, "days"+string(filepath.Separator))
	if f.open == nil && (!day || f.Sum != "" && !check) {
		progress(f.Info.Size())
		return k.writeSum(f, to, f.Sum)
	}
	sum, err := k.hashOrCopy(ctx, f, to, progress)
	var unread *readError
	switch {
	case k.beside && errors.As(err, &unread) && blocks.Lasting(err):
		k.leaveOut(f.Path, err)
		return removeAll(to, to+checksumSuffix)
	case err != nil || !day:
		return err
	case f.Sum != "" && sum != f.Sum:
		k.leaveOut(f.Path, fmt.Errorf("its content is not what its %s says", checksumSuffix))
		return removeAll(to, to+checksumSuffix)
	}
	return k.writeSum(f, to, sum)
}

// readError is one of the file that is copied, not of its copy.
type readError struct{ err error }

func (e *readError) Error() string { return "reading it: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// hashOrCopy reads a file through, and writes what is not linked.
func (k *Capture) hashOrCopy(ctx context.Context, f *captured, to string, progress func(int64)) (sum string, err error) {
	in := f.open
	if in == nil {
		if err := fault.Op("open", to); err != nil {
			return "", err
		}
		if in, err = os.Open(to); err != nil {
			return "", err
		}
		defer in.Close() // only read from
	}
	h := sha256.New()
	var w io.Writer = h
	var out *os.File
	if f.open != nil {
		if err := fault.Op("create", to); err != nil {
			return "", err
		}
		if out, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
			return "", err
		}
		defer func() {
			if err = errors.Join(err, out.Close(), fault.Op("chtimes", to)); err == nil {
				err = os.Chtimes(to, f.Info.ModTime(), f.Info.ModTime())
			}
		}()
		w = io.MultiWriter(h, fault.Writer(out, to))
	}
	if err := fault.Op("read", to); err != nil {
		return "", &readError{err}
	}
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := in.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return "", werr
		}
		progress(int64(n))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", &readError{err}
		}
	}
	if out != nil {
		err = errors.Join(out.Chmod(f.Info.Mode().Perm()), fault.Op("sync", to), out.Sync())
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// writeSum puts the checksum beside the copy of a sealed file. Who links a
// damaged file to a checksum of its own making would hide the damage: sum is
// the one that the file came with, if there was one.
func (k *Capture) writeSum(f *captured, to, sum string) (err error) {
	if f.sumLinked || sum == "" {
		return nil
	}
	if err := fault.Op("create", to+checksumSuffix); err != nil {
		return err
	}
	out, err := os.OpenFile(to+checksumSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(fault.Writer(out, to+checksumSuffix), "%s  %s\n", sum, filepath.Base(to))
	return errors.Join(err, fault.Op("sync", to+checksumSuffix), out.Sync(), out.Close())
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, RemoveAll(p))
	}
	return errors.Join(errs...)
}

// MkdirAll and RemoveAll are those of package os.
func MkdirAll(path string) error {
	if err := fault.Op("mkdir", path); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o755)
}

// RemoveAll does not do everything at once: what fails in the middle leaves a part.
func RemoveAll(path string) error {
	if err := fault.Op("remove", path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}
