package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/units"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

type retentionCommand struct {
	options tsdb.Options
	dryRun  bool
	json    bool
}

func (c *retentionCommand) register(cmd *kingpin.CmdClause) {
	c.options = tsdb.DefaultOptions()
	o := &c.options
	storagePathFlag(cmd, &o.Dir)
	cmd.Flag("dry-run", "Only say what would go; nothing else is possible, since the daemon itself deletes.").BoolVar(&c.dryRun)
	durationFlag(cmd.Flag("retention.time", "What the daemon has: whole days older than this go; 0 keeps them for ever."), &o.RetentionTime, "15d")
	sizeFlag(cmd.Flag("retention.size", "What the daemon has: size in bytes of everything above which the oldest days go; 0 is off."), &o.RetentionSize, "0")
	cmd.Flag("retention.disk-usage", "What the daemon has: percent of the file system in use at which the oldest day goes; 0 is off.").
		Default("90").Float64Var(&o.DiskUsage)
	cmd.Flag("json", "Print JSON.").BoolVar(&c.json)
}

func (c *retentionCommand) run() error {
	if !c.dryRun {
		return &tsdb.OptionsError{Err: errors.New("only `daybook retention --dry-run` exists: a running daemon deletes by itself")}
	}
	return inspectWith(c.options, func(_ context.Context, db *tsdb.DB) error {
		v, err := db.PlanRetention()
		if err != nil {
			return fmt.Errorf("plan retention: %w", err)
		}
		w := bufio.NewWriter(os.Stdout)
		if c.json {
			err = printRetentionJSON(w, v)
		} else {
			printRetention(w, v, c.options)
		}
		return errors.Join(err, w.Flush())
	})
}

func printRetention(w *bufio.Writer, v tsdb.RetentionView, o tsdb.Options) {
	if len(v.Departures) == 0 {
		fmt.Fprintln(w, "nothing would be deleted now")
	} else {
		var sum int64
		out := newColumns(w, "WOULD GO", "CAUSE", ">BYTES")
		for _, d := range v.Departures {
			name := cmp.Or(d.Snapshot, d.Legacy)
			if name == "" {
				name = d.Day.String()
			}
			out.row(name, d.Cause, strconv.FormatInt(d.Bytes, 10))
			sum += d.Bytes
		}
		out.row("", "", strconv.FormatInt(sum, 10))
		out.flush()
	}
	if !v.PausedSince.IsZero() {
		fmt.Fprintf(w, "deletion by age would pause for an hour: %s\n", lastSeenText(v.PausedSince))
	}
	for _, p := range v.Pressure {
		fmt.Fprintln(w, p)
	}
	fmt.Fprintln(w, "floor:          ", floorText(v.Floor))
	fmt.Fprintf(w, "data directory:  %d bytes\n", v.Total)
	fmt.Fprintf(w, "file system:     %d of %d bytes in use (%.1f %%)\n", v.DiskUsed, v.DiskSize, 100*float64(v.DiskUsed)/float64(max(v.DiskSize, 1)))
	if v.Days == 0 {
		fmt.Fprintln(w, "disk full:       not known: there is no day before today to tell the rate from")
		return
	}
	fmt.Fprintf(w, "rate:            %d bytes a day, from the last %d days\n", v.BytesPerDay, v.Days)
	if o.DiskUsage > 0 {
		fmt.Fprintf(w, "disk at %g %%:    %s\n", o.DiskUsage, whenText(v.LimitAt, o.RetentionTime))
	}
	fmt.Fprintln(w, "disk full:      ", whenText(v.FullAt, o.RetentionTime))
}

// lastSeenText says why deletion would pause.
func lastSeenText(at time.Time) string {
	if at.Unix() == 0 {
		return "nothing tells when a daemon last ran here"
	}
	return "the clock was last seen at " + at.UTC().Format(time.RFC3339)
}

// floorText says from when on events are taken.
func floorText(d task.Day) string {
	if d < 0 {
		return "none: every day is kept"
	}
	return d.String() + " (events before it are refused)"
}

func whenText(at time.Time, keep time.Duration) string {
	switch {
	case !at.IsZero():
		return at.UTC().Format("2006-01-02 15:04 UTC")
	case keep > 0:
		return "never at this rate: days go after " + units.FormatDuration(keep)
	}
	return "not within ten years"
}

func printRetentionJSON(w *bufio.Writer, v tsdb.RetentionView) error {
	type departure struct {
		Day      string `json:"day,omitempty"`
		Snapshot string `json:"snapshot,omitempty"`
		Legacy   string `json:"legacy,omitempty"`
		Cause    string `json:"cause"`
		Bytes    int64  `json:"bytes"`
	}
	out := struct {
		Departures  []departure `json:"would_go"`
		Floor       *string     `json:"floor"`
		Total       int64       `json:"bytes"`
		DiskSize    int64       `json:"disk_size_bytes"`
		DiskUsed    int64       `json:"disk_used_bytes"`
		Pressure    []string    `json:"pressure"`
		PausedSince *int64      `json:"paused_since"`
		Rate        *int64      `json:"bytes_per_day"`
		RateDays    int         `json:"rate_days"`
		LimitAt     *int64      `json:"disk_limit_at"`
		FullAt      *int64      `json:"disk_full_at"`
	}{
		Departures: []departure{}, Total: v.Total, DiskSize: v.DiskSize, DiskUsed: v.DiskUsed, Pressure: append([]string{}, v.Pressure...),
		PausedSince: unix(v.PausedSince), RateDays: v.Days, LimitAt: unix(v.LimitAt), FullAt: unix(v.FullAt),
	}
	for _, d := range v.Departures {
		x := departure{Snapshot: d.Snapshot, Legacy: d.Legacy, Cause: d.Cause, Bytes: d.Bytes}
		if d.Snapshot == "" && d.Legacy == "" {
			x.Day = d.Day.String()
		}
		out.Departures = append(out.Departures, x)
	}
	if v.Floor >= 0 {
		floor := v.Floor.String()
		out.Floor = &floor
	}
	if v.Days > 0 {
		out.Rate = &v.BytesPerDay
	}
	return json.NewEncoder(w).Encode(out)
}

// unix is a time in seconds; nil if it is zero.
func unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}
