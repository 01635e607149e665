package tsdb

import (
	"path/filepath"
	"time"

	"daybook/compact"
	"daybook/tsdb/task"
)

// RetentionView is what retention would do now, and how long the disk lasts.
type RetentionView struct {
	compact.RetentionPlan
	Forecast
}

// Forecast is when the disk will be full if things go on as they have.
type Forecast struct {
	Days        int       // past days on which the rate rests; 0: it is not known
	BytesPerDay int64     // mean of those days, empty ones between them included
	LimitAt     time.Time // --retention.disk-usage is reached; zero: never, or not known
	FullAt      time.Time // the file system is full, if nothing but age deletes; zero likewise
}

// rateDays is how far back the rate looks: a week has its weekend.
const rateDays = 7

// forecastDays is how far ahead it makes sense to look.
const forecastDays = 10 * 365

// PlanRetention says what retention with these options would delete now and
// when the disk will be full. It changes nothing. An *OptionsError is returned
// for options that Open would refuse.
func (db *DB) PlanRetention() (RetentionView, error) {
	if err := db.opts.Validate(); err != nil {
		return RetentionView{}, &OptionsError{err}
	}
	if err := db.usable(); err != nil {
		return RetentionView{}, err
	}
	p, err := db.compact.PlanRetention(db.head.Floor())
	if err != nil {
		return RetentionView{}, err
	}
	for i, d := range p.Departures {
		if d.Legacy != "" {
			p.Departures[i].Legacy = filepath.Join("legacy", filepath.Base(d.Legacy))
		}
		if d.Snapshot != "" {
			p.Departures[i].Snapshot = filepath.Join("snapshots", filepath.Base(d.Snapshot))
		}
	}
	return RetentionView{p, forecast(p, db.opts.RetentionTime, db.opts.DiskUsage)}, nil
}

// rate is the mean size of the last days before today.
func rate(past []compact.DayBytes, today task.Day) (bytes int64, days int) {
	first := today
	for _, d := range past {
		if d.Day >= today-rateDays && d.Day < today {
			first = min(first, d.Day)
			bytes += d.Bytes
		}
	}
	days = int(today - first)
	if days == 0 {
		return 0, 0
	}
	return bytes / int64(days), days
}

// forecast goes on day by day: one more is stored, and those go that age out.
func forecast(p compact.RetentionPlan, keep time.Duration, limit float64) Forecast {
	today := task.DayOf(p.At.UnixMicro())
	var f Forecast
	f.BytesPerDay, f.Days = rate(p.Past, today)
	if f.BytesPerDay == 0 || p.DiskSize == 0 {
		return f
	}
	stored := map[task.Day]int64{}
	for _, d := range p.Past {
		stored[d.Day] = d.Bytes
	}
	used := p.DiskUsed
	for _, d := range p.Departures {
		used -= d.Bytes
		if d.Snapshot == "" && d.Legacy == "" {
			delete(stored, d.Day)
		}
	}
	for n := task.Day(0); n < forecastDays && f.FullAt.IsZero(); n++ {
		// reached is when, in the course of this day, so much will be in use.
		reached := func(bytes int64) time.Time {
			if used+f.BytesPerDay < bytes {
				return time.Time{}
			}
			part := float64(max(0, bytes-used)) / float64(f.BytesPerDay)
			return p.At.Add(time.Duration((float64(n) + part) * float64(24*time.Hour)))
		}
		if limit > 0 && f.LimitAt.IsZero() {
			f.LimitAt = reached(int64(limit / 100 * float64(p.DiskSize)))
		}
		f.FullAt = reached(p.DiskSize)
		used += f.BytesPerDay
		stored[today+n] += f.BytesPerDay
		if keep > 0 {
			floor := task.DayOf(p.At.Add(time.Duration(n+1)*24*time.Hour - keep).UnixMicro())
			for d, bytes := range stored {
				if d < floor {
					used -= bytes
					delete(stored, d)
				}
			}
		}
	}
	return f
}
