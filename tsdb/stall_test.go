package tsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"daybook/head/wal"
)

// stallingFS is a file system whose fsyncs wait while it stalls.
type stallingFS struct {
	wal.FS
	gate sync.RWMutex // held for writing while it stalls
}

func (s *stallingFS) Create(path string) (wal.File, error)    { return s.wrap(s.FS.Create(path)) }
func (s *stallingFS) OpenWrite(path string) (wal.File, error) { return s.wrap(s.FS.OpenWrite(path)) }

func (s *stallingFS) wrap(f wal.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return stallingFile{f, s}, nil
}

type stallingFile struct {
	wal.File
	fs *stallingFS
}

func (f stallingFile) Sync() error {
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.Sync()
}

// A disk that stalls costs no memory beyond the caps: what waits for it is
// refused in time, health and a gap say so, and with the disk everything that
// was acknowledged is there.
func TestStalledDisk(t *testing.T) {
	t.Parallel()
	disk := &stallingFS{FS: wal.OS}
	o := DefaultOptions()
	o.Dir, o.HeadMaxBytes, o.walFS = t.TempDir(), 4<<20, disk
	o.stallAfter, o.logWait = 300*time.Millisecond, 600*time.Millisecond
	const clients, perCall = 40, 200
	acked, sent := sync.Map{}, atomic.Int64{}
	var dropped int64 // acknowledged before, and counted
	func() {
		db, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- db.Run(ctx) }()
		until(t, "ready", func() bool { return db.Ready().Ready })
		send := func() (dropped int, err error) {
			recs := make([]Record, perCall)
			for i := range recs {
				recs[i] = finished(fmt.Sprintf("t%d", sent.Add(1)), time.Now())
				recs[i].Args = strings.Repeat("x", 500)
			}
			out, err := db.Append(ctx, recs)
			if err == nil && out.Dropped == 0 {
				for i := range recs {
					acked.Store(recs[i].TaskID, true)
				}
			}
			return out.Dropped, err
		}
		if _, err := send(); err != nil {
			t.Fatal(err)
		}
		disk.gate.Lock()
		var peak, refused atomic.Int64
		var wg sync.WaitGroup
		for range clients { // each tries again and again, as clients do that time out
			wg.Go(func() {
				for range 3 {
					switch dropped, err := send(); {
					case errors.Is(err, ErrStalled), err == nil && dropped == perCall:
						refused.Add(1)
					default:
						t.Errorf("%d dropped, %v", dropped, err)
					}
					for pending := db.wal.PendingBytes(); ; {
						was := peak.Load()
						if pending <= was || peak.CompareAndSwap(was, pending) {
							break
						}
					}
				}
			})
		}
		wg.Wait() // although the disk still stalls
		if refused.Load() != 3*clients {
			t.Errorf("%d of %d requests were refused or dropped", refused.Load(), 3*clients)
		}
		if most := db.maxPending() + clients*perCall*600; peak.Load() > most {
			t.Errorf("%d bytes waited to be logged, at most %d should", peak.Load(), most)
		}
		if _, bytes := db.head.Size(); bytes > o.HeadMaxBytes {
			t.Errorf("the head has %d bytes", bytes)
		}
		if h := db.Health(); h.CanStore || !strings.Contains(strings.Join(h.Reasons, ";"), "the disk does not answer") {
			t.Errorf("%+v", h)
		}
		if _, err := db.Select(ctx, Query{Limit: 10}); err != nil {
			t.Error(err)
		}
		disk.gate.Unlock()
		until(t, "it takes records again", func() bool {
			_, err := send()
			return err == nil
		})
		if h := db.Health(); !h.CanStore || len(h.Reasons) > 0 {
			t.Errorf("%+v", h)
		}
		dropped = db.Health().DroppedTotal
		cancel()
		if err := errors.Join(<-ended, db.Close()); err != nil {
			t.Error(err)
		}
	}()
	db := running(t, o)
	var missing int64
	acked.Range(func(id, _ any) bool {
		if _, err := db.Get(context.Background(), id.(string)); errors.Is(err, ErrNotFound) {
			missing++
		} else if err != nil {
			t.Error(err)
		}
		return true
	})
	if missing > dropped {
		t.Errorf("%d acknowledged records are missing, %d were dropped", missing, dropped)
	}
	page, err := db.Select(context.Background(), Query{Limit: 1})
	if err != nil || page.Coverage.Complete || !strings.Contains(fmt.Sprint(page.Coverage.Gaps), "refused: disk stalled") {
		t.Errorf("%+v %v", page.Coverage, err)
	}
}
