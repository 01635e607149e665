package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"daybook/tsdb/load"
)

// Names are the benchmarks, in the order in which they run.
var Names = []string{"ingest", "cut", "seal", "query", "retention", "restart", "overload"}

// Options say what is measured, and how much of it.
type Options struct {
	Benchmarks []string // of Names; none are all
	Binary     string   // the program that daemons are started from
	Dir        string   // the temporary directory is made beside it, on its file system
	Seed       uint64

	Rows    int           // of the day that is cut into and sealed, and of what is restarted
	Days    int           // that queries go over, of Rows / Days rows each
	Batch   int           // lines of a request
	Clients int           // that send at once
	Singles int           // clients of requests of one line
	Rate    float64       // lines a second; 0 is as many as are taken
	Length  time.Duration // of each measurement of ingest
	// Invocations end the first one of ingest instead; 0 does not.
	Invocations int
	WALSync     string
	URL         string      // of a running daemon, for ingest; "" starts one
	TLS         *tls.Config // for an https URL; nil trusts whom the system trusts
	Profile     string      // directory for CPU profiles of the daemons; "" takes none
	Version     string      // of the program, for the report

	Progress func(text string) // told what is being done; may be nil
}

func (o *Options) validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, name := range o.Benchmarks {
		bad(!slices.Contains(Names, name), "there is no benchmark %q", name)
	}
	bad(o.Rows < 1000, "--rows is %d, must be at least 1000", o.Rows)
	bad(o.Days < 1 || o.Days > 365, "--days is %d, must be 1 to 365", o.Days)
	bad(o.Batch < 1 || o.Batch > 10_000, "--batch is %d, must be 1 to 10000", o.Batch)
	bad(o.Clients < 1 || o.Clients > 1000, "--clients is %d, must be 1 to 1000", o.Clients)
	bad(o.Singles < 1 || o.Singles > 1000, "--singles is %d, must be 1 to 1000", o.Singles)
	bad(o.Invocations < 0 || o.Invocations > 0 && o.Invocations < o.Batch, "--invocations is %d, must be 0 or at least --batch", o.Invocations)
	bad(o.Rate < 0, "--rate is negative")
	bad(o.Length < time.Second || o.Length > time.Hour, "--length is %s, must be 1s to 1h", o.Length)
	bad(o.URL != "" && !slices.Equal(o.Benchmarks, []string{"ingest"}), "--url goes with the benchmark ingest only: the others need a daemon of their own")
	return errors.Join(errs...)
}

// OptionsError is what Run returns for options that cannot work.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }
func (e *OptionsError) Unwrap() error { return e.Err }

// run is one run of benchmarks.
type run struct {
	Options
	dir     string // temporary
	pool    *load.Pool
	seeds   uint64 // of the clients so far
	report  Report
	yard    yards
	maxRate float64 // lines a second that ingest has reached; 0 if it was not measured
	// Bytes written for each by the log and cuts of ingest, and by the cuts of
	// cut; 0 as well.
	written, cutWritten float64
}

// Run runs the benchmarks. When ctx ends, it ends the daemons that it started,
// deletes what they wrote, and returns what was measured by then.
func Run(ctx context.Context, o Options) (rep Report, err error) {
	if err := o.validate(); err != nil {
		return rep, &OptionsError{err}
	}
	if len(o.Benchmarks) == 0 {
		o.Benchmarks = Names
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	parent, err := beside(o.Dir)
	if err != nil {
		return rep, &OptionsError{err}
	}
	dir, err := os.MkdirTemp(parent, "daybook-bench-")
	if err != nil {
		return rep, fmt.Errorf("making a temporary directory: %w", err)
	}
	r := &run{Options: o, dir: dir}
	r.report.about(o)
	if inMemory(dir) {
		r.report.Setting["filesystem"] = noDisk
	}
	defer func() {
		rep = r.report
		if removeErr := os.RemoveAll(dir); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("removing what was written: %w", removeErr))
		}
	}()
	defer func() { err = errors.Join(err, r.yard.close()) }()
	benchmarks := map[string]func(context.Context) error{
		"ingest": r.ingest, "cut": r.cut, "seal": r.seal, "query": r.query, "retention": r.retention, "restart": r.restart, "overload": r.overload,
	}
	for _, name := range Names {
		if !slices.Contains(o.Benchmarks, name) {
			continue
		}
		if err := benchmarks[name](ctx); err != nil {
			return rep, fmt.Errorf("bench %s: %w", name, err)
		}
		if err := r.sweep(); err != nil {
			return rep, err
		}
	}
	r.report.Complete = true
	return rep, nil
}

// progress says what is being done.
func (r *run) progress(format string, args ...any) { r.Progress(fmt.Sprintf(format, args...)) }

// subdir is a new directory.
func (r *run) subdir(name string) (string, error) {
	dir, err := os.MkdirTemp(r.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("making a directory: %w", err)
	}
	return dir, nil
}

// sweep removes what a benchmark has left, to need no more disk than the
// largest; the ancestor's table is for all.
func (r *run) sweep() error {
	entries, err := os.ReadDir(r.dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ancestorDir) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, e.Name())))
		}
	}
	return err
}

// lines is a generator for one more client.
func (r *run) lines() *load.Lines {
	if r.pool == nil {
		r.progress("generating the load")
		r.pool = load.NewPool(r.Seed, 20_000, false)
	}
	r.seeds++
	return r.pool.Lines(r.Seed<<20 + r.seeds)
}

// beside is a directory on the file system of a data directory that the data
// directory does not own: the nearest one above it that exists.
func beside(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--storage.path: %w", err)
	}
	inside := dir
	for dir = filepath.Dir(dir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("--storage.path: %s is not a directory", dir)
		case err == nil:
			if mounted(dir, inside) {
				return "", fmt.Errorf("--storage.path: %s is a file system of its own, and a benchmark does not write into a data directory: name a directory below it", inside)
			}
			return dir, nil
		case !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir):
			return "", fmt.Errorf("--storage.path: %w", err)
		}
		inside = dir
	}
}
