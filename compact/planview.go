package compact

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"daybook/tsdb/task"
)

// Departure is a day, a snapshot or a legacy file that retention would delete.
type Departure struct {
	Day      task.Day
	Snapshot string // its directory; empty for the others
	Legacy   string // its path; empty for the others. Day is that of its newest row
	Cause    string // age, size or disk-usage
	Bytes    int64  // what that gives back; 0 if its files have other names elsewhere
}

// DayBytes is what the files of a past day take up, whoever else has a link to
// them.
type DayBytes struct {
	Day   task.Day
	Bytes int64
}

// RetentionPlan is what retention would do if it ran to its end now.
type RetentionPlan struct {
	At          time.Time
	Departures  []Departure // in the order in which they would go
	Floor       task.Day    // the first day that would be kept; far in the past if all are
	Total       int64       // physical bytes of the data directory now
	DiskSize    int64       // what an ordinary user can use of the file system
	DiskUsed    int64
	Past        []DayBytes // the days before today, oldest first
	PausedSince time.Time  // deletion by age would pause: when the clock was last seen (1970 if nothing tells); else zero
	Pressure    []string   // what would still be over its limit
}

// PlanRetention works out what Retain and RetainSpace would do. It changes
// nothing. floor is the one that the log tells.
func (c *Compactor) PlanRetention(floor task.Day) (RetentionPlan, error) {
	now := c.opts.Now()
	p := RetentionPlan{At: now, Floor: floor}
	s, err := c.measure()
	if err != nil {
		return p, fmt.Errorf("measuring the data directory: %w", err)
	}
	d, err := diskOf(c.dirs.root)
	if err != nil {
		return p, fmt.Errorf("measuring the file system: %w", err)
	}
	p.Total, p.DiskSize, p.DiskUsed, p.Past = s.total, d.size, d.used, c.pastBytes()
	offered, freeing := c.offer(s), s.freeing()
	left := c.planAge(&p, now, offered, freeing)
	rest := c.planSize(&p, price(left, freeing))
	c.planDisk(&p, rest)
	return p, nil
}

// depart notes victims, and returns those offered that are left.
func (p *RetentionPlan) depart(cause string, chosen, offered []victim) []victim {
	gone := map[victim]bool{}
	for _, v := range chosen {
		gone[v] = true
		p.Departures = append(p.Departures, Departure{Day: v.day, Snapshot: v.snapshot, Legacy: v.legacy, Cause: cause, Bytes: v.frees})
		if v.isDay() {
			p.Floor = max(p.Floor, v.day+1)
		}
	}
	return slices.DeleteFunc(slices.Clone(offered), func(v victim) bool { return gone[v] })
}

// freed is what the departures so far give back.
func (p *RetentionPlan) freed() (bytes int64) {
	for _, d := range p.Departures {
		bytes += d.Bytes
	}
	return bytes
}

// planAge takes the days that are too old out of those offered: they go
// whatever they give back, and before anything else is worked out.
func (c *Compactor) planAge(p *RetentionPlan, now time.Time, offered []offer, freeing func(string) int64) []offer {
	if c.opts.RetentionTime == 0 {
		return offered
	}
	// The next look at the clock is compared with the last one of a daemon.
	var locked time.Time
	if fi, err := os.Stat(c.dirs.lock); err == nil && fi.Size() > 0 {
		locked = fi.ModTime()
	}
	c.mu.Lock()
	seen := lastSeen(locked, slices.Collect(maps.Keys(c.days)))
	c.mu.Unlock()
	guard := clockGuard{seen: seen, paused: notedPause(c.dirs.lock, now)}
	if _, paused := guard.look(now); paused {
		p.PausedSince = seen
		return offered
	}
	floor := floorOf(now, c.opts.RetentionTime)
	p.Floor = max(p.Floor, floor)
	var days []task.Day
	for _, o := range offered {
		if o.snapshot == "" {
			days = append(days, o.day)
		}
	}
	old := planRetention(now, days, floor)
	goes := func(o offer) bool { return o.snapshot == "" && slices.Contains(old, o.day) }
	going := slices.DeleteFunc(slices.Clone(offered), func(o offer) bool { return !goes(o) })
	p.depart("age", price(going, freeing), nil)
	return slices.DeleteFunc(slices.Clone(offered), goes)
}

func (c *Compactor) planSize(p *RetentionPlan, offered []victim) []victim {
	if c.opts.RetentionSize == 0 {
		return offered
	}
	chosen, enough := planSpace(p.Total-p.freed()-c.opts.RetentionSize, offered)
	offered = p.depart("size", chosen, offered)
	if !enough {
		p.Pressure = append(p.Pressure, fmt.Sprintf("the data directory would still have %d bytes, more than --retention.size", p.Total-p.freed()))
	}
	return offered
}

func (c *Compactor) planDisk(p *RetentionPlan, offered []victim) {
	excess := diskExcess(disk{size: p.DiskSize, used: p.DiskUsed - p.freed()}, c.opts.DiskUsage)
	chosen, enough := planSpace(excess, offered)
	if !enough {
		p.Pressure = append(p.Pressure, fmt.Sprintf("the file system is over --retention.disk-usage by %d bytes, more than deleting past days would give back: nothing goes for it", excess))
		return
	}
	p.depart("disk-usage", chosen, offered)
}

// pastBytes are the sizes of the days before today.
func (c *Compactor) pastBytes() []DayBytes {
	today := task.DayOf(c.opts.Now().UnixMicro())
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []DayBytes
	for d, x := range c.days {
		b := DayBytes{Day: d}
		if x.sealed != nil {
			b.Bytes = x.sealed.Bytes()
		}
		if x.live != nil && x.live.Rows() > 0 {
			b.Bytes += x.live.Bytes()
		}
		if d < today && b.Bytes > 0 {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b DayBytes) int { return cmp.Compare(a.Day, b.Day) })
	return out
}
