package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Figure is one line of the table.
type Figure struct {
	Bench    string  `json:"bench"`
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Measured float64 `json:"measured"`
	Smaller  bool    `json:"smaller_is_better"`
	// Target is what the full size is meant to reach; 0 if there is none.
	Target float64 `json:"target,omitempty"`
	// Yardstick is the same of Against; 0 if there is none.
	Yardstick float64 `json:"yardstick,omitempty"`
	Against   string  `json:"against,omitempty"`
	// Ratio is how many times better than the yardstick; 0 without one.
	Ratio float64 `json:"ratio,omitempty"`
}

// Report is what a run has measured.
type Report struct {
	// Complete is false if the run ended before all was measured.
	Complete bool              `json:"complete"`
	Setting  map[string]string `json:"setting"`
	Figures  []Figure          `json:"figures"`
}

func (r *Report) about(o Options) {
	r.Setting = map[string]string{
		"cpus": strconv.Itoa(runtime.NumCPU()), "go": runtime.Version(), "seed": strconv.FormatUint(o.Seed, 10),
		"rows": strconv.Itoa(o.Rows), "days": strconv.Itoa(o.Days), "batch": strconv.Itoa(o.Batch), "clients": strconv.Itoa(o.Clients),
		"length": o.Length.String(), "wal.sync": o.WALSync, "invocations": strconv.Itoa(o.Invocations), "singles": strconv.Itoa(o.Singles),
		"rate": strconv.FormatFloat(o.Rate, 'f', -1, 64), "cut_rows": strconv.Itoa(cutRows), "version": o.Version,
		"started": time.Now().UTC().Format(time.RFC3339),
	}
	if o.URL != "" {
		r.Setting["url"] = withoutPassword(o.URL)
	}
	r.Figures = []Figure{}
}

func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

// noDisk is the setting of a file system in memory.
const noDisk = "in memory"

// more adds a figure of which more is better, less one of which less is.
func (r *Report) more(bench, name, unit string, measured float64) *Figure {
	r.Figures = append(r.Figures, Figure{Bench: bench, Name: name, Unit: unit, Measured: measured})
	return &r.Figures[len(r.Figures)-1]
}

func (r *Report) less(bench, name, unit string, measured float64) *Figure {
	f := r.more(bench, name, unit, measured)
	f.Smaller = true
	return f
}

// used adds a figure of what the system knows of a process, if it does.
func (r *Report) used(bench, name, unit string, measured float64) *Figure {
	if !knowsUsage {
		return &Figure{}
	}
	return r.less(bench, name, unit, measured)
}

// target and against complete a figure, before the next one is added.
func (f *Figure) target(t float64) *Figure { f.Target = t; return f }

func (f *Figure) against(yardstick float64, name string) *Figure {
	f.Yardstick, f.Against = yardstick, name
	switch {
	case yardstick == 0 || f.Measured == 0:
	case f.Smaller:
		f.Ratio = yardstick / f.Measured
	default:
		f.Ratio = f.Measured / yardstick
	}
	return f
}

// JSON prints the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table prints the report for people.
func (r *Report) Table(w io.Writer) error {
	rows := [][]string{{"BENCH", "WHAT", "TARGET", "MEASURED", "", "YARDSTICK", "RATIO", "AGAINST"}}
	for i := range r.Figures {
		f := &r.Figures[i]
		row := []string{f.Bench, f.Name, "", number(f.Measured), f.Unit, "", "", f.Against}
		if i > 0 && f.Bench == r.Figures[i-1].Bench {
			row[0] = ""
			if f.Name == r.Figures[i-1].Name { // against another yardstick
				row[1] = ""
			}
		}
		if f.Target != 0 {
			sign := "≥ "
			if f.Smaller {
				sign = "≤ "
			}
			row[2] = sign + number(f.Target)
		}
		if f.Against != "" {
			row[5] = number(f.Yardstick)
		}
		if f.Ratio != 0 {
			row[6] = strconv.FormatFloat(f.Ratio, 'g', 3, 64) + " ×"
			if f.Ratio >= 100 {
				row[6] = number(f.Ratio) + " ×"
			}
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	align(&b, rows, map[int]bool{2: true, 3: true, 5: true, 6: true})
	fmt.Fprintf(&b, "\nVersion %s, %s, %s CPUs, %s rows a day file, %s days, %s for each measurement of ingest, seed %s. Ratio: how many times better\n"+
		"than the yardstick of this run. Targets are for 3 million rows and 30 days on two idle cores: docs/performance.md has the commands.\n",
		r.Setting["version"], r.Setting["started"], r.Setting["cpus"], r.Setting["rows"], r.Setting["days"], r.Setting["length"], r.Setting["seed"])
	if r.Setting["filesystem"] == noDisk {
		b.WriteString("Measured in memory: nothing was written to a disk and an fsync cost nothing. Name a directory on a disk: --storage.path.\n")
	}
	if !r.Complete {
		b.WriteString("The run ended before all was measured.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// align prints columns, some of them to the right.
func align(b *strings.Builder, rows [][]string, right map[int]bool) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, s := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	for _, row := range rows {
		line := ""
		for i, s := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if right[i] {
				line += pad + s + "  "
			} else {
				line += s + pad + "  "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// number prints three digits that count, or all in front of the point, with
// thousands apart.
func number(x float64) string {
	if math.Abs(x) < 1000 {
		if x == math.Trunc(x) {
			return strconv.FormatFloat(x, 'f', 0, 64)
		}
		digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
		return strconv.FormatFloat(x, 'f', max(0, digits), 64)
	}
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
