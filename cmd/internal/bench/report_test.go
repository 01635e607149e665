package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTable looks at the table as it is printed.
func TestTable(t *testing.T) {
	var r Report
	r.about(Options{Rows: 300_000, Seed: 1, Length: 5 * time.Second})
	r.more("ingest", "sustained", "inv/s", 71_234.5).target(70_000).against(14_000, theAncestor)
	r.less("ingest", "acknowledged, p99", "ms", 12.345).target(50).against(3.1, theFsync)
	r.less("ingest", "dropped", "inv", 0)
	r.more("cut", "by CPU time", "rows/s", 150_000).against(15_000, theAncestor)
	r.more("cut", "by CPU time", "rows/s", 150_000).against(400_000, thePlain)
	var b bytes.Buffer
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(b.String(), "\n\n")
	want := `BENCH   WHAT                 TARGET  MEASURED          YARDSTICK    RATIO  AGAINST
ingest  sustained          ≥ 70 000    71 234  inv/s      14 000   5.09 ×  ancestor's layout
        acknowledged, p99      ≤ 50      12.3  ms           3.10  0.251 ×  write + fsync
        dropped                             0  inv
cut     by CPU time                   150 000  rows/s     15 000     10 ×  ancestor's layout
                                      150 000  rows/s    400 000  0.375 ×  plain append`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
	b.Reset()
	if err := r.JSON(&b); err != nil || strings.Count(b.String(), `"bench": `) != 5 {
		t.Errorf("%v %s", err, b.String())
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 7: "7", 0.01234: "0.0123", 1.5: "1.50", 12.345: "12.3", 999.4: "999", 1000: "1 000", 1234567.8: "1 234 568", -1234: "-1 234", -0.5: "-0.500"} {
		if got := number(x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	ds := make([]time.Duration, 100)
	for i := range ds {
		ds[i] = time.Duration(i+1) * time.Millisecond
	}
	for p, want := range map[float64]float64{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := percentile(ds, p); got != want {
			t.Errorf("%v: %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// TestOptions has options that cannot work, and sees that nothing is left.
func TestOptions(t *testing.T) {
	good := Options{Dir: filepath.Join(t.TempDir(), "data"), Rows: 1000, Days: 1, Batch: 1, Clients: 1, Singles: 1, Length: time.Second}
	for name, change := range map[string]func(*Options){
		"a benchmark":   func(o *Options) { o.Benchmarks = []string{"sleep"} },
		"rows":          func(o *Options) { o.Rows = 1 },
		"days":          func(o *Options) { o.Days = 0 },
		"batch":         func(o *Options) { o.Batch = 0 },
		"clients":       func(o *Options) { o.Clients = 0 },
		"singles":       func(o *Options) { o.Singles = 5000 },
		"rate":          func(o *Options) { o.Rate = -1 },
		"length":        func(o *Options) { o.Length = 0 },
		"url of others": func(o *Options) { o.URL = "http://127.0.0.1:1"; o.Benchmarks = []string{"ingest", "cut"} },
		"a file": func(o *Options) {
			o.Dir = filepath.Join(t.TempDir(), "file", "data")
			if err := os.WriteFile(filepath.Dir(o.Dir), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		o := good
		change(&o)
		_, err := Run(t.Context(), o)
		var option *OptionsError
		if !errors.As(err, &option) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Binary, good.Benchmarks = filepath.Join(good.Dir, "missing"), []string{"overload"}
	if _, err := Run(t.Context(), good); err == nil || !strings.Contains(err.Error(), "starting a daemon") {
		t.Errorf("a missing program: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(good.Dir))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestBeside finds the place for the temporary directory.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"data", "not/there/data"} {
		if got, err := beside(filepath.Join(dir, path)); got != dir || err != nil {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}

// TestDurationField reads what the daemon logs.
func TestDurationField(t *testing.T) {
	line := `level=info msg="deleted day" day=2026-11-20 bytes=5 took=12.5ms unlinking=3ms`
	for key, want := range map[string]time.Duration{"took": 12500 * time.Microsecond, "unlinking": 3 * time.Millisecond} {
		if d, ok := durationField(line, key); !ok || d != want {
			t.Errorf("%s: %s %t", key, d, ok)
		}
	}
	for _, line := range []string{"level=info msg=other", "level=info took=long"} {
		if _, ok := durationField(line, "took"); ok {
			t.Errorf("found where there is none: %s", line)
		}
	}
}
