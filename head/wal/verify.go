package wal

import (
	"context"
	"fmt"
	"path/filepath"
)

// Finding is something Verify has to say about a file.
type Finding struct {
	File   string // path
	Offset int64
	Length int64 // bytes; 0 if it is about the whole file
	Reason string
	// Damage is set if records are lost or may be. Otherwise the finding is a note, of
	// something that the log deals with by itself.
	Damage bool
	Advice string
}

func (f Finding) String() string {
	class := "note"
	if f.Damage {
		class = "damage"
	}
	s := fmt.Sprintf("%s: %s: %s", class, f.File, f.Reason)
	if f.Length > 0 {
		s += fmt.Sprintf(" (%d bytes at %d)", f.Length, f.Offset)
	}
	return s + ": " + f.Advice
}

const (
	adviceDamage   = "the records around it are used; the daemon keeps the file with the suffix .damaged"
	adviceObsolete = "a newer checkpoint replaces it; the next checkpoint removes it"
)

// Verify checks every frame of every file in dir, also of those that a replay would not read, and
// changes nothing. An error is returned when reading does not work or a file has a newer format;
// findings are no error. The writer should be stopped, or files may seem to be missing.
//
// fn is given the records that a replay would read. Those for which it returns ErrNotUnderstood are
// findings.
func Verify(dir string, fn func(rec []byte) error) ([]Finding, error) {
	return verify(osFS{}, dir, fn)
}

func verify(fsys FS, dir string, fn func(rec []byte) error) ([]Finding, error) {
	inv, err := list(fsys, dir)
	if err != nil {
		return nil, err
	}
	l := &loader{ctx: context.Background(), fs: fsys, dir: dir, inv: inv, fn: fn}
	if err := l.load(); err != nil {
		return nil, err
	}
	var found []Finding
	for _, c := range l.stats.Corruptions {
		found = append(found, Finding{File: c.File, Offset: c.Offset, Length: c.Length, Reason: c.Reason,
			Damage: true, Advice: adviceDamage})
	}
	if l.stats.SalvagedRecords > 0 {
		found = append(found, Finding{File: dir, Damage: true,
			Reason: fmt.Sprintf("no checkpoint is complete; %d records come from a damaged one", l.stats.SalvagedRecords),
			Advice: "records before it may be lost; restore from a backup if there is one"})
	}
	if l.stats.TornBytes > 0 {
		found = append(found, Finding{File: l.last.path, Offset: l.last.end, Length: l.stats.TornBytes,
			Reason: "torn end, from a batch that was not acknowledged", Advice: "the next start cuts it off"})
	}
	if n := l.stats.NotUnderstood - maxNotUnderstood; n > 0 {
		found = append(found, Finding{File: dir, Reason: fmt.Sprintf("%d more records that are not understood", n), Damage: true, Advice: adviceDamage})
	}
	old, err := l.obsolete()
	if err != nil {
		return found, err
	}
	found = append(found, old...)
	for _, path := range inv.tmp {
		found = append(found, Finding{File: path, Reason: "unfinished", Advice: "the next start removes it"})
	}
	for _, path := range inv.unknown {
		f := Finding{File: path, Reason: "not a file of the log", Advice: "it is left alone"}
		if k, _ := parseName(filepath.Base(path)); k == kindDamaged {
			f.Reason, f.Advice = "damaged earlier and replaced since", "look at it, then remove it"
		}
		found = append(found, f)
	}
	return found, nil
}

// obsolete checks the files that the load did not read.
func (l *loader) obsolete() ([]Finding, error) {
	var found []Finding
	note := func(e entry, reason string) {
		f := Finding{File: e.path, Reason: "obsolete", Advice: adviceObsolete}
		if reason != "" {
			f.Reason = "obsolete, and damaged: " + reason
		}
		found = append(found, f)
	}
	for _, e := range l.inv.checkpoints {
		if e.num >= l.stats.Checkpoint {
			continue // read
		}
		_, reason, err := l.complete(e)
		if err != nil {
			return found, err
		}
		note(e, reason)
	}
	for i := range l.inv.since(l.stats.Checkpoint) {
		sub := &loader{ctx: l.ctx, fs: l.fs, dir: l.dir, inv: l.inv, fn: l.fn}
		if err := sub.segment(i); err != nil {
			return found, err
		}
		var reason string
		if len(sub.stats.Corruptions) > 0 {
			reason = sub.stats.Corruptions[0].Reason
		}
		note(l.inv.segments[i], reason)
	}
	return found, nil
}
