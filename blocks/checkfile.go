package blocks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-sqlite3"

	"daybook/tsdb/task"
)

// Finding is one thing that is wrong with a file, or, as a Note, worth knowing.
type Finding struct {
	Path    string
	Problem string
	Remedy  string
	Note    bool
}

// maxFindings is how many findings are listed of one file; the first ones tell.
const maxFindings = 30

// CheckFile looks for damage in one file of the data directory: what SQLite
// finds, the checksum, and what the file says of itself; deep also reads every
// row and its details, and computes the rollups again. It changes nothing, and may run beside a daemon. That the
// system does not let it be read is a finding, too. The error is for what has
// nothing to do with it: that it is not there, or that ctx ended.
func CheckFile(ctx context.Context, path string, deep bool) ([]Finding, error) {
	r := &report{path: path, mode: readMode(path)}
	before := stampOf(path)
	err := r.check(ctx, deep)
	if r.mode == modeImmutable && ctx.Err() == nil && stampOf(path) != before && exists(path) {
		// Somebody has begun to write it: what was read without locks tells nothing.
		r = &report{path: path, mode: modeRead}
		err = r.check(ctx, deep)
	}
	return r.findings, r.notice(err)
}

// check tells by its name what the file is.
func (r *report) check(ctx context.Context, deep bool) (err error) {
	path, base := r.path, filepath.Base(r.path)
	if _, parked := ParseParkedName(base); parked {
		err = r.parked(ctx, deep)
	} else if _, _, live := ParseLiveName(base); live && isLive(path) {
		err = r.live(ctx, deep)
	} else {
		err = r.day(ctx, deep)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// liveStamp is what tells that nobody has written a file meanwhile.
type liveStamp struct {
	fileStamp
	written bool // it has a WAL
}

func stampOf(path string) liveStamp {
	s := liveStamp{written: exists(path + "-wal")}
	if fi, err := os.Lstat(path); err == nil {
		s.fileStamp = fileStamp{fi.Size(), fi.ModTime()}
	}
	return s
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isLive tells a live file from a sealed one of the same name: by its place,
// and by the WAL that it has beside it while it is used.
func isLive(path string) bool {
	if abs, err := filepath.Abs(path); err == nil && filepath.Base(filepath.Dir(abs)) == "live" {
		return true
	}
	_, err := os.Lstat(path + "-wal")
	return err == nil
}

// report collects the findings about one file.
type report struct {
	path     string
	mode     fileMode // how a live file is read
	findings []Finding
}

// errEnough ends a check that has found more than is worth listing.
var errEnough = errors.New("enough findings")

const (
	remedyRestore = "move it to quarantine/ and restore the file from a backup"
	remedyUpgrade = "use a newer Daybook; the file itself is fine"
	remedyMove    = "if it is in a data directory, move it out of there"
)

func (r *report) add(remedy, format string, args ...any) error {
	r.findings = append(r.findings, Finding{Path: r.path, Problem: fmt.Sprintf(format, args...), Remedy: remedy})
	if len(r.findings) >= maxFindings {
		return errEnough
	}
	return nil
}

func (r *report) note(remedy, format string, args ...any) {
	r.findings = append(r.findings, Finding{Path: r.path, Problem: fmt.Sprintf(format, args...), Remedy: remedy, Note: true})
}

// notice turns an error that is about the file's content into a finding.
func (r *report) notice(err error) error {
	var (
		version *VersionError
		foreign *ForeignError
		unsafe  *UnsafeError
		damaged *DamagedError
		sqlite  sqlite3.Error
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, fs.ErrNotExist):
		return err
	case errors.As(err, &version):
		err = r.add(remedyUpgrade, "%v", version)
	case errors.As(err, &foreign):
		err = r.add(remedyMove, "%v", foreign)
	case errors.As(err, &unsafe):
		err = r.add(unsafe.Advice(), "%v", unsafe)
	case errors.As(err, &damaged), ofContent(err),
		errors.As(err, &sqlite) && (sqlite.Code == sqlite3.ErrCorrupt || sqlite.Code == sqlite3.ErrNotADB):
		err = r.add(remedyRestore, "%v", err)
	default:
		remedy := SystemRemedy(err)
		if remedy == "" || !exists(r.path) {
			return err
		}
		err = r.add(remedy, "it could not be checked: %v", err)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// day checks a file of days/, with its checksum.
func (r *report) day(ctx context.Context, deep bool) error {
	if _, _, ok := ParseSealedName(filepath.Base(r.path)); !ok {
		if name := rightName(r.path); name != "" {
			return r.add("name it "+name, "this is a day file under another name, and not checked")
		}
	}
	if err := r.checksum(); err != nil {
		return err
	}
	if _, err := OpenSealed(r.path); err != nil {
		return err
	}
	_, err := r.sealed(ctx, deep)
	return err
}

// checksum compares the file with the .sha256 beside it.
func (r *report) checksum() error {
	text, err := os.ReadFile(r.path + checksumSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		r.note("nothing; a daemon checks the file and writes it", "%s has no %s beside it", filepath.Base(r.path), checksumSuffix)
		return nil
	}
	if err != nil {
		return err
	}
	want, ok := parseChecksum(text, filepath.Base(r.path))
	if !ok {
		return r.add("delete the checksum file if the day file is found to be whole otherwise", "its %s is not one of sha256sum", checksumSuffix)
	}
	// A file with a WAL beside it is in use, and not to be read outside SQLite.
	for _, side := range sides(r.path) {
		if _, err := os.Lstat(side); err == nil {
			return &UnsafeError{r.path, filepath.Base(side)}
		}
	}
	got, err := fileSum(r.path)
	if err == nil && got != want {
		err = r.add(remedyRestore, "its content is not what its %s says", checksumSuffix)
	}
	return err
}

// parseChecksum reads what sha256sum writes about one file.
func parseChecksum(text []byte, base string) (sum string, ok bool) {
	sum, name, ok := strings.Cut(strings.TrimSuffix(string(text), "\n"), "  ")
	return sum, ok && len(sum) == 64 && name == base
}

// sealed checks a sealed file of any name.
func (r *report) sealed(ctx context.Context, deep bool) (s *Sealed, err error) {
	if s, err = openSealed(r.path); err != nil {
		return nil, err
	}
	c, err := openFile(r.path, modeImmutable)
	if err != nil {
		return s, openError(r.path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := r.integrity(ctx, c, deep); err != nil {
		return s, err
	}
	var vals [1]driver.Value
	if _, err := c.queryRow(ctx, vals[:], "SELECT count(*) FROM invocation"); err != nil {
		return s, err
	}
	oldest, newest, err := rowBounds(ctx, c, s.info.Day)
	if err != nil {
		return s, err
	}
	if vals[0] != s.info.Rows || oldest != s.info.Oldest || newest != s.info.Newest {
		if err := r.add(remedyRestore, "it has %v rows from %d to %d, and says %d from %d to %d", vals[0], oldest, newest, s.info.Rows, s.info.Oldest, s.info.Newest); err != nil {
			return s, err
		}
	}
	filter, err := loadBloom(ctx, c, s.filterBlocks)
	if err != nil {
		return s, err
	}
	ids := &idCheck{c: c, ids: s.ids}
	if err := ids.count(ctx, r, s.info.Rows); err != nil {
		return s, err
	}
	names, err := r.checkNames(ctx, c, false)
	if err != nil {
		return s, err
	}
	words, err := newWordCheck(ctx, r, c, s.info.Day, false)
	if err != nil || !deep {
		return s, err
	}
	k := rowCheck{r: r, words: words, c: c, day: s.info.Day, ordered: true, known: func(hash uint64, key int64) (bool, error) {
		if !filter.has(hash) || s.ids.pages == 0 {
			return filter.has(hash), nil
		}
		return ids.has(ctx, hash, key)
	}}
	return s, r.rows(ctx, &k, &rollupCheck{r: r, c: c, names: names, day: s.info.Day, sealed: true, firstWaits: s.firstWaits})
}

// integrity asks SQLite.
func (r *report) integrity(ctx context.Context, c *conn, deep bool) error {
	pragma := "PRAGMA main.quick_check(20)"
	if deep {
		pragma = "PRAGMA main.integrity_check(20)"
	}
	return c.each(ctx, 1, func(vals []driver.Value) error {
		if vals[0] == "ok" {
			return nil
		}
		text, _ := vals[0].(string)
		return r.add(remedyRestore, "SQLite finds: %s", foundLine(text))
	}, pragma)
}

// foundLine is what an integrity check says, in one line: without the name that it
// has for the only database here.
func foundLine(text string) string {
	text = strings.TrimPrefix(text, "*** in database main ***\n")
	return strings.Join(strings.Split(strings.TrimSpace(text), "\n"), "; ")
}

// written opens a file that a daemon may be writing, as the last commit left it,
// and checks what all of them have.
func (r *report) written(ctx context.Context, kind string, day task.Day, deep bool) (c *conn, err error) {
	if err := checkOurs(r.path); err != nil {
		return nil, err
	}
	if c, err = openFile(r.path, r.mode); err != nil {
		return nil, openError(r.path, err)
	}
	if err = c.exec("BEGIN"); err == nil {
		err = checkMeta(ctx, c, r.path, kind, day)
	}
	if err == nil {
		err = r.integrity(ctx, c, deep)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// live checks a live file.
func (r *report) live(ctx context.Context, deep bool) (err error) {
	day, _, _ := ParseLiveName(filepath.Base(r.path))
	c, err := r.written(ctx, kindLive, day, deep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if _, err := loadCuts(ctx, c, "main"); err != nil {
		return err
	}
	mask, err := loadMask(ctx, c)
	if err != nil {
		return err
	}
	if _, err := loadMoved(ctx, c, "main"); err != nil {
		return err
	}
	if _, _, err := loadGaps(ctx, c); err != nil {
		return err
	}
	ids, err := loadIDs(ctx, c, func(uint64) {})
	if err != nil {
		return err
	}
	names, err := r.checkNames(ctx, c, true)
	if err != nil {
		return err
	}
	if names.runs {
		told, err := liveRows(ctx, c, true)
		if err != nil {
			return err
		}
		if there, err := liveRows(ctx, c, false); err != nil {
			return err
		} else if there != told {
			if err := r.add(remedyRestore, "it has %d rows, and says %d", there, told); err != nil {
				return err
			}
		}
	}
	words, err := newWordCheck(ctx, r, c, day, true)
	if err != nil || !deep {
		return err
	}
	page := cachedPages(ctx, c, keptPages)
	k := rowCheck{r: r, words: words, c: c, day: day, known: func(hash uint64, key int64) (bool, error) {
		found := false
		err := ids.find(page, hash, func(at int64) (bool, error) {
			found = at == key
			return found, nil
		})
		return found, err
	}}
	rule, err := metaInt(ctx, c, metaWaitRule)
	if err != nil {
		return err
	}
	rollups := &rollupCheck{r: r, c: c, names: names, day: day, firstWaits: rule < waitRule}
	if err := rollups.hide(ctx, mask); err != nil {
		return err
	}
	return r.rows(ctx, &k, rollups)
}

// rows checks every row, and then what is stored of many at once.
func (r *report) rows(ctx context.Context, k *rowCheck, rollups *rollupCheck) error {
	before := len(r.findings)
	if err := k.run(ctx); err != nil || len(r.findings) > before {
		return err // sums of damaged rows tell nothing
	}
	return rollups.run(ctx)
}
