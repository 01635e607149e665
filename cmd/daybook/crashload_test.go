//go:build faults

package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"daybook/cmd/internal/celery"
	"daybook/tsdb/task"
)

// known is a client's record of one task.
type known struct {
	// acked is what was acknowledged, or seen after a restart: it may not be lost.
	acked task.Invocation
	// sent is all that was ever sent.
	sent task.Invocation
	at   time.Time // of its first event
	last time.Time // of its newest
	step int
	// missing: it was not there after a start, and nothing of it was sent since
	// that could be taken. It may not come back.
	missing bool
}

// record is what the clients knew at a moment.
type record struct {
	tasks map[string]known
	gone  time.Time // retention may have taken what began before this
}

// until is a record of what was made while the clients went on: it has what was
// acknowledged before, and may have what was sent by the end.
func (r record) until(end record) record {
	for id, k := range end.tasks {
		k.acked = r.tasks[id].acked
		r.tasks[id] = k
	}
	return r
}

// sent is a body that was acknowledged, with what it is about.
type sent struct {
	body []byte
	ids  []string
}

// client sends the events of its own tasks and keeps account.
type client struct {
	r     *rand.Rand
	name  string
	mu    sync.Mutex // held while the client writes what tasks says, as others take records
	tasks map[string]*known
	ids   []string
	dirty map[string]bool // to be looked at after the next start
	older []sent          // bodies to be sent again
	quiet time.Time       // no more events of tasks that began before this
	gone  time.Time       // retention may have taken what began before this
	// refused is before the floor of retention: events before this are not taken.
	refused time.Time
}

// olderBodies bounds how many bodies a client keeps to send them again.
const olderBodies = 30

var errGone = errors.New("the daemon does not answer")

// request is one request of a client that does not wait for long.
func request(p *process, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := crashHTTP.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return resp.StatusCode, answer, nil
}

var crashHTTP = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// next is the next event of a task.
func (c *client) next(id string, k *known) map[string]any {
	ev := map[string]any{"uuid": id, "hostname": fmt.Sprintf("celery@w%d", len(id)%3), "timestamp": seconds(k.at.Add(time.Duration(k.step) * 700 * time.Millisecond))}
	switch roll := c.r.IntN(20); {
	case k.step == 0:
		ev["type"], ev["name"], ev["args"], ev["kwargs"], ev["retries"] = "task-received", fmt.Sprintf("shop.t%d", c.r.IntN(5)), fmt.Sprintf("('%s', %d)", id, c.r.Uint32()), "{}", 0
	case roll < 4:
		ev["type"] = "task-started"
	case roll < 6:
		ev["type"], ev["exception"], ev["traceback"] = "task-retried", "TimeoutError('late')", "Traceback"
	case roll < 8:
		ev["type"], ev["exception"], ev["traceback"] = "task-failed", "ValueError('no')", "Traceback (most recent call last)"
	case roll < 9: // hours after: the row moves to another day
		at := k.at.Add(time.Duration(c.r.IntN(30)) * time.Hour)
		if now := time.Now(); at.After(now) {
			at = now
		}
		ev["timestamp"] = seconds(at)
		fallthrough
	case roll < 17:
		ev["type"], ev["result"], ev["runtime"] = "task-succeeded", fmt.Sprintf("'%d'", c.r.Uint64()), c.r.Float64()
	default:
		ev["type"] = "task-started"
	}
	k.step++
	k.last = newer(k.last, ev["timestamp"].(json.Number))
	return ev
}

func newer(t time.Time, text json.Number) time.Time {
	s, err := text.Float64()
	if err != nil {
		panic(err)
	}
	if at := time.UnixMicro(int64(s * 1e6)); at.After(t) {
		return at
	}
	return t
}

func seconds(t time.Time) json.Number {
	return json.Number(task.AppendSeconds(nil, t.UnixMicro()))
}

// batch makes a body of events of new and old tasks.
func (c *client) batch() (body []byte, about map[string]task.Invocation) {
	about = map[string]task.Invocation{}
	for range 1 + c.r.IntN(20) {
		var id string
		if len(c.ids) == 0 || c.r.IntN(3) == 0 {
			id = fmt.Sprintf("%s-%d", c.name, len(c.ids))
			at := time.Now().Add(-time.Duration(c.r.Int64N(int64(5 * time.Second))))
			if c.r.IntN(3) == 0 {
				at = c.quiet.Add(time.Duration(c.r.Int64N(int64(time.Since(c.quiet)))))
			}
			c.tasks[id] = &known{at: at}
			c.ids = append(c.ids, id)
		} else {
			from := max(0, len(c.ids)-60)
			if c.r.IntN(4) == 0 {
				from = 0
			}
			id = c.ids[from+c.r.IntN(len(c.ids)-from)]
		}
		k := c.tasks[id]
		if k.at.Before(c.quiet) || k.step > 12 {
			continue
		}
		line, err := json.Marshal(c.next(id, k))
		if err != nil {
			panic(err)
		}
		items, err := new(celery.Decoder).Events(line)
		if err != nil || items[0].Err != nil {
			panic(fmt.Sprintf("%v: %s", err, line))
		}
		about[id] = task.Merge(about[id], items[0].Event.Invocation())
		body = append(append(body, line...), '\n')
	}
	return body, about
}

// work sends until the daemon is gone, and reads what it has written.
func (c *client) work(p *process) error {
	for {
		body, about := c.begin()
		if len(body) == 0 {
			continue
		}
		code, answer, err := request(p, http.MethodPost, "/api/v1/events", body)
		if err != nil {
			return err
		}
		var a struct{ Accepted, Ignored, Rejected, Dropped int }
		if code == http.StatusServiceUnavailable {
			continue // sent, and maybe in part stored
		}
		if err := json.Unmarshal(answer, &a); err != nil || code != http.StatusOK || a.Accepted != bytes.Count(body, []byte("\n")) {
			return fmt.Errorf("POST: %d %s", code, answer)
		}
		ids := c.acknowledged(about)
		if len(c.older) > 0 && c.r.IntN(4) == 0 {
			if err := c.again(p, c.older[c.r.IntN(len(c.older))]); err != nil {
				return err
			}
		}
		if done := (sent{body, ids}); len(c.older) < olderBodies {
			c.older = append(c.older, done)
		} else {
			c.older[c.r.IntN(olderBodies)] = done
		}
		for _, id := range ids {
			if c.r.IntN(4) == 0 {
				if err := c.look(p, id); err != nil {
					return err
				}
			}
		}
	}
}

// begin makes a body and notes that it is sent.
func (c *client) begin() (body []byte, about map[string]task.Invocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, about = c.batch()
	for id, v := range about {
		k := c.tasks[id]
		k.sent, k.missing = task.Merge(k.sent, v), false
		c.dirty[id] = true
	}
	return body, about
}

func (c *client) acknowledged(about map[string]task.Invocation) (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, v := range about {
		k := c.tasks[id]
		k.acked = task.Merge(k.acked, v)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// again sends a body again: nothing changes. What is before the floor of
// retention is refused, so that what is gone stays gone.
func (c *client) again(p *process, old sent) error {
	c.mu.Lock()
	for _, id := range old.ids {
		k := c.tasks[id]
		k.missing = k.missing && k.last.Before(c.refused)
	}
	c.mu.Unlock()
	_, _, err := request(p, http.MethodPost, "/api/v1/events", old.body)
	return err
}

// look reads one task and wants at least what was acknowledged, and nothing
// that was not sent.
func (c *client) look(p *process, id string) error {
	code, body, err := request(p, http.MethodGet, "/api/v1/invocations/"+id, nil)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return c.absent(id, fmt.Sprintf("%d %s", code, body), false)
	}
	return c.compare(id, body, false)
}

// absent says whether a task may be missing. What is, right after a start, may
// not come back.
func (c *client) absent(id, answer string, started bool) error {
	k := c.tasks[id]
	if err := k.absent(id, answer, c.gone); err != nil {
		return err
	}
	k.missing = k.missing || started
	return nil
}

// compare holds an invocation as it was answered against the record. What is seen
// right after a start came from the disk, and stays.
func (c *client) compare(id string, answer []byte, started bool) error {
	k := c.tasks[id]
	if k == nil {
		return fmt.Errorf("%s was never sent: %s", id, answer)
	}
	got, err := task.ParseJSON(answer)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", id, err, answer)
	}
	if err := k.compare(id, got, c.gone); err != nil {
		return err
	}
	if started {
		got.GivenUpAt = 0
		k.acked = task.Merge(k.acked, got)
	}
	return nil
}

// expired tells whether retention may have taken a task, or a part of it.
func (k *known) expired(gone time.Time) bool { return k.at.Before(gone) }

func (k *known) absent(id, answer string, gone time.Time) error {
	if k.acked.TaskID == "" || k.expired(gone) {
		return nil
	}
	return fmt.Errorf("%s is lost: %s\nacknowledged: %s", id, answer, task.AppendJSON(nil, &k.acked))
}

// compare wants an invocation to have at least what was acknowledged, nothing
// that was not sent, and not to have been away.
func (k *known) compare(id string, got task.Invocation, gone time.Time) error {
	if k.missing {
		return fmt.Errorf("%s was gone and comes back: %s; it began at %s, what began before %s may be deleted", id, task.AppendJSON(nil, &got), k.at, gone)
	}
	got.GivenUpAt = 0
	if more := task.Merge(k.sent, got); !bytes.Equal(task.AppendJSON(nil, &more), task.AppendJSON(nil, &k.sent)) {
		return fmt.Errorf("%s says what was never sent:\nanswered %s\n    sent %s\n    both %s", id, task.AppendJSON(nil, &got), task.AppendJSON(nil, &k.sent), task.AppendJSON(nil, &more))
	}
	less := task.Merge(k.acked, got)
	if !k.expired(gone) && !bytes.Equal(task.AppendJSON(nil, &less), task.AppendJSON(nil, &got)) {
		return fmt.Errorf("%s has lost what was acknowledged:\n    answered %s\nacknowledged %s", id, task.AppendJSON(nil, &got), task.AppendJSON(nil, &k.acked))
	}
	return nil
}
