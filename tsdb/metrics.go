package tsdb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"daybook/compact"
)

// metrics are the engine's figures for Prometheus. docs/metrics.md lists them.
type metrics struct {
	appended  prometheus.Counter
	known     prometheus.Counter
	refused   *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	fsync     prometheus.Histogram
	cut       prometheus.Histogram
	cutRows   prometheus.Counter
	parked    prometheus.Counter
	seal      *prometheus.HistogramVec
	sealRows  *prometheus.CounterVec
	deletions *prometheus.CounterVec
	failures  *prometheus.CounterVec
	thinned   *prometheus.CounterVec
	query     *prometheus.HistogramVec
}

// The reasons for which a record is refused or dropped, as label values.
const (
	reasonPast     = "too_old"
	reasonFuture   = "too_far_ahead"
	reasonNoTime   = "no_time"
	reasonOverflow = "overflow"
	reasonStalled  = "stalled"
)

// Why the details of a success were left out, as label values.
const (
	thinnedRate = "detail_rate"
	thinnedDisk = "disk_nearly_full"
)

// causes are the causes of gaps that there are from the start, so that a rule finds
// the first of each. Those of brokers are named in package ingest.
var causes = []string{"daemon down", "broker lost", "overflow", "broker queue full", "not stored at the end", "dropped",
	lossTooOld.cause, lossTooFar.cause, lossHeadFull.cause, lossDiskFull.cause, lossNotLog.cause, lossNoAnswer.cause}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	seconds := prometheus.ExponentialBuckets(0.0005, 4, 10)
	m := &metrics{
		appended:  f.NewCounter(prometheus.CounterOpts{Name: "daybook_appended_total", Help: "Records taken in: into the head and its log, but for those of daybook_known_total."}),
		known:     f.NewCounter(prometheus.CounterOpts{Name: "daybook_known_total", Help: "Records taken in that say nothing new about a row of a day: nothing is kept of them."}),
		refused:   f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_refused_total", Help: "Records refused for what they say, by reason."}, []string{"reason"}),
		dropped:   f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_dropped_total", Help: "Acknowledged records dropped, by reason."}, []string{"reason"}),
		fsync:     f.NewHistogram(prometheus.HistogramOpts{Name: "daybook_wal_fsync_seconds", Help: "Duration of fsyncs of the log.", Buckets: seconds}),
		cut:       f.NewHistogram(prometheus.HistogramOpts{Name: "daybook_cut_seconds", Help: "Duration of cuts, one observation a day and cut.", Buckets: seconds}),
		cutRows:   f.NewCounter(prometheus.CounterOpts{Name: "daybook_cut_rows_total", Help: "Invocations cut into days."}),
		parked:    f.NewCounter(prometheus.CounterOpts{Name: "daybook_parked_total", Help: "Open invocations moved from memory to the parked file."}),
		seal:      f.NewHistogramVec(prometheus.HistogramOpts{Name: "daybook_seal_seconds", Help: "Duration of seals, by whether the day was sealed before.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 8)}, []string{"kind"}),
		sealRows:  f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_seal_rows_total", Help: "Rows written by seals, by whether the day was sealed before."}, []string{"kind"}),
		deletions: f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_retention_deletions_total", Help: "Days and snapshots deleted, by cause."}, []string{"cause"}),
		failures:  f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_background_failures_total", Help: "Failures of what the daemon does by itself, by operation."}, []string{"operation"}),
		thinned:   f.NewCounterVec(prometheus.CounterOpts{Name: "daybook_details_left_out_total", Help: "Successes stored without args, kwargs and result, by why."}, []string{"reason"}),
		query:     f.NewHistogramVec(prometheus.HistogramOpts{Name: "daybook_query_seconds", Help: "Duration of queries, by kind.", Buckets: seconds}, []string{"kind"}),
	}
	for _, r := range []string{reasonPast, reasonFuture, reasonNoTime} {
		m.refused.WithLabelValues(r)
	}
	for _, r := range []string{reasonOverflow, reasonStalled} {
		m.dropped.WithLabelValues(r)
	}
	for _, r := range []string{thinnedRate, thinnedDisk} {
		m.thinned.WithLabelValues(r)
	}
	for _, c := range []string{"age", "size", "disk-usage"} {
		m.deletions.WithLabelValues(c)
	}
	for _, o := range operations {
		m.failures.WithLabelValues(string(o.op))
	}
	return m
}

// observer tells the metrics what compact does.
func (db *DB) observer() compact.Observer {
	m := db.metrics
	return compact.Observer{
		Cut: func(rows int64, took time.Duration) {
			m.cut.Observe(took.Seconds())
			m.cutRows.Add(float64(rows))
		},
		Seal: func(rows int64, took time.Duration, reseal bool) {
			kind := "seal"
			if reseal {
				kind = "reseal"
			}
			m.seal.WithLabelValues(kind).Observe(took.Seconds())
			m.sealRows.WithLabelValues(kind).Add(float64(rows))
		},
		Delete: func(cause string) { m.deletions.WithLabelValues(cause).Inc() },
		Tried:  func(op string, err error) { db.tried(operation(op), err) },
	}
}

// timed measures a query: defer db.metrics.timed("get")().
func (m *metrics) timed(kind string) func() {
	began := time.Now()
	return func() { m.query.WithLabelValues(kind).Observe(time.Since(began).Seconds()) }
}

// gauges are what is looked up when Prometheus asks.
type gauges struct{ db *DB }

var (
	descHeadRecords = prometheus.NewDesc("daybook_head_records", "Invocations in the head.", nil, nil)
	descHeadBytes   = prometheus.NewDesc("daybook_head_bytes", "Bytes of the head, bodies in flight included.", nil, nil)
	descParked      = prometheus.NewDesc("daybook_parked_records", "Open invocations in the parked file.", nil, nil)
	descWALBytes    = prometheus.NewDesc("daybook_wal_bytes", "Bytes of the log on disk.", nil, nil)
	descWALSegments = prometheus.NewDesc("daybook_wal_segments", "Segments of the log.", nil, nil)
	descBlocks      = prometheus.NewDesc("daybook_blocks", "Files by kind.", []string{"kind"}, nil)
	descBlockBytes  = prometheus.NewDesc("daybook_block_bytes", "Bytes on disk by kind of file.", []string{"kind"}, nil)
	descBlockRows   = prometheus.NewDesc("daybook_block_rows", "Rows by kind of file.", []string{"kind"}, nil)
	descOldest      = prometheus.NewDesc("daybook_oldest_timestamp_seconds", "Row time of the oldest invocation; absent if there is none.", nil, nil)
	descNewest      = prometheus.NewDesc("daybook_newest_timestamp_seconds", "Row time of the newest invocation; absent if there is none.", nil, nil)
	descGaps        = prometheus.NewDesc("daybook_gaps", "Remembered stretches of time of which records are missing, by cause.", []string{"cause"}, nil)
	descNewestGap   = prometheus.NewDesc("daybook_newest_gap_timestamp_seconds", "End of the latest of these; absent if there is none.", []string{"cause"}, nil)
	descWaiting     = prometheus.NewDesc("daybook_days_to_seal", "Past days that are due to be sealed, or to be sealed again.", nil, nil)
	descCanStore    = prometheus.NewDesc("daybook_can_store", "0 if writing the log, cutting or what they need failed when it was last tried, or the log is being replayed.", nil, nil)
	descUnreadable  = prometheus.NewDesc("daybook_unreadable_files", "Files that are left out because they cannot be read.", nil, nil)
	descDiskFree    = prometheus.NewDesc("daybook_disk_free_bytes", "Bytes free on the file system of the data directory.", nil, nil)
	descSumCache    = prometheus.NewDesc("daybook_sum_cache_bytes", "Memory that remembered sums of sealed days take, at most 32 MiB.", nil, nil)
	descPoolConns   = prometheus.NewDesc("daybook_attach_connections", "SQLite connections that queries use, by state.", []string{"state"}, nil)
	descPoolLimit   = prometheus.NewDesc("daybook_attach_connections_limit", "Most of these connections.", nil, nil)
	descPoolFiles   = prometheus.NewDesc("daybook_attached_files", "Files attached to them, once for each connection.", nil, nil)
	descPoolAttach  = prometheus.NewDesc("daybook_attaches_total", "Files attached so far.", nil, nil)
	descPoolWait    = prometheus.NewDesc("daybook_attach_wait_seconds_total", "Time that queries waited for a connection.", nil, nil)
	descReady       = prometheus.NewDesc("daybook_ready", "1 once the log is replayed.", nil, nil)
)

func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHeadRecords, descHeadBytes, descParked, descWALBytes, descWALSegments, descBlocks, descBlockBytes,
		descBlockRows, descOldest, descNewest, descGaps, descNewestGap, descWaiting, descCanStore, descUnreadable, descDiskFree, descSumCache, descReady,
		descPoolConns, descPoolLimit, descPoolFiles, descPoolAttach, descPoolWait} {
		ch <- d
	}
}

func (g gauges) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	h := g.db.Health()
	put(descReady, flag(g.db.Ready().Ready))
	put(descCanStore, flag(h.CanStore))
	put(descDiskFree, float64(h.DiskFreeBytes))
	put(descUnreadable, float64(len(g.db.compact.Unreadable())+len(g.db.unreadFiles())+len(g.db.legacyReasons())))
	if g.db.usable() != nil {
		return
	}
	p := g.db.pool.Stats()
	put(descPoolConns, float64(p.Busy), "busy")
	put(descPoolConns, float64(p.Open-p.Busy), "idle")
	put(descPoolLimit, float64(p.Conns))
	put(descPoolFiles, float64(p.Attached))
	ch <- prometheus.MustNewConstMetric(descPoolAttach, prometheus.CounterValue, float64(p.Attaches))
	ch <- prometheus.MustNewConstMetric(descPoolWait, prometheus.CounterValue, p.Waited.Seconds())
	put(descHeadRecords, float64(h.HeadRecords))
	put(descHeadBytes, float64(h.HeadBytes))
	if p := g.db.compact.Parked(); p != nil {
		put(descParked, float64(p.Rows()))
	}
	if g.db.wal != nil {
		put(descWALBytes, float64(g.db.wal.Bytes()))
		put(descWALSegments, float64(g.db.wal.Segments()))
	}
	put(descSumCache, float64(g.db.sums.size()))
	g.collectBlocks(put)
	put(descWaiting, float64(g.db.compact.DaysToSeal()))
	g.collectGaps(put)
}

func (g gauges) collectGaps(put func(*prometheus.Desc, float64, ...string)) {
	type sum struct{ n, newest int64 }
	sums := map[string]sum{}
	for _, cause := range causes {
		sums[cause] = sum{}
	}
	for _, x := range g.db.gaps(0, 0) {
		s := sums[x.Cause]
		sums[x.Cause] = sum{s.n + 1, max(s.newest, x.To)}
	}
	for cause, s := range sums {
		put(descGaps, float64(s.n), cause)
		if s.n > 0 {
			put(descNewestGap, float64(s.newest)/1e6, cause)
		}
	}
}

func (g gauges) collectBlocks(put func(*prometheus.Desc, float64, ...string)) {
	type sum struct{ files, bytes, rows float64 }
	sums := map[BlockKind]*sum{KindLive: {}, KindDay: {}, KindLegacy: {}}
	var oldest, newest int64
	for _, b := range g.db.blocks() {
		if b.Oldest != 0 && (oldest == 0 || b.Oldest < oldest) {
			oldest = b.Oldest
		}
		newest = max(newest, b.Newest)
		if s := sums[b.Kind]; s != nil {
			s.files, s.bytes, s.rows = s.files+1, s.bytes+float64(b.Bytes), s.rows+float64(b.Rows)
		}
	}
	for kind, s := range sums {
		put(descBlocks, s.files, string(kind))
		put(descBlockBytes, s.bytes, string(kind))
		put(descBlockRows, s.rows, string(kind))
	}
	if oldest != 0 {
		put(descOldest, float64(oldest)/1e6)
		put(descNewest, float64(newest)/1e6)
	}
}
