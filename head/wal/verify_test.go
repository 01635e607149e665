package wal

import (
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	fsys, _ := plain(t, true)
	report := func() string {
		found, err := verify(fsys, testDir, func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, f := range found {
			s = append(s, f.String())
		}
		return strings.Join(s, "\n")
	}
	if got := report(); got != "" {
		t.Fatal(got)
	}
	names := fsys.names()
	fsys.live[names[0]].data[headerSize] ^= 1
	last := names[len(names)-2]
	fsys.live[last].data = append(fsys.live[last].data, 0, 0, 0)
	fsys.live[testDir+"/notes"] = &memFile{}
	fsys.live[testDir+"/00000077.tmp"] = &memFile{}
	fsys.live[testDir+"/00000001.damaged"] = &memFile{}
	fsys.live[testDir+"/00000001"] = &memFile{data: header{number: 1, salt: 3}.encode(segmentMagic)}
	fsys.live[testDir+"/checkpoint.00000001"] = &memFile{}
	before := fsys.String()
	got := report()
	for _, want := range []string{
		"damage: " + names[0] + ": no frame (",
		"note: " + last + ": torn end",
		"note: wal/notes: not a file of the log",
		"note: wal/00000077.tmp: unfinished",
		"note: wal/00000001.damaged: damaged earlier",
		"note: wal/00000001: obsolete: ",
		"note: wal/checkpoint.00000001: obsolete, and damaged",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n") + 1; n != 7 {
		t.Errorf("%d findings:\n%s", n, got)
	}
	if fsys.String() != before {
		t.Error("something was changed")
	}
}
