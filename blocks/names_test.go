package blocks

import "testing"

// FuzzDayNames wants a name that is understood to be the one that would be given:
// no two names for one generation, no number that does not fit.
func FuzzDayNames(f *testing.F) {
	for _, s := range []string{"2026-11-22.db", "2026-11-22.2.db", "2026-11-22.1.db", "2026-11-22.02.db", "2026-02-30.db", "2026-11-23.7.db", "parked.3.db",
		"parked.0.db", "2026-11-22.99999999999999999999.db", "2026-11-22.2.3.db", "+026-11-22.db", "2026-11-22.db.sha256", "unfinished-backup"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if d, n, ok := ParseSealedName(name); ok && SealedName(d, n) != name {
			t.Errorf("sealed: %q is taken for %q", name, SealedName(d, n))
		}
		if d, n, ok := ParseLiveName(name); ok && liveName(d, n) != name {
			t.Errorf("live: %q is taken for %q", name, liveName(d, n))
		}
		if n, ok := ParseParkedName(name); ok && parkedName(n) != name {
			t.Errorf("parked: %q is taken for %q", name, parkedName(n))
		}
	})
}
