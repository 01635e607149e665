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
	step int
}

// client sends the events of its own tasks and keeps account.
type client struct {
	r     *rand.Rand
	name  string
	tasks map[string]*known
	ids   []string
	dirty map[string]bool // to be looked at after the next start
	last  []byte          // a body to be sent again
	quiet time.Time       // no more events of tasks that began before this
	gone  time.Time       // retention may have taken what began before this
}

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
	return ev
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
		ev, _, err := celery.ParseEvent(line)
		if err != nil {
			panic(fmt.Sprintf("%v: %s", err, line))
		}
		about[id] = task.Merge(about[id], ev.Invocation())
		body = append(append(body, line...), '\n')
	}
	return body, about
}

// work sends until the daemon is gone, and reads what it has written.
func (c *client) work(p *process) error {
	for {
		body, about := c.batch()
		if len(body) == 0 {
			continue
		}
		for id, v := range about {
			k := c.tasks[id]
			k.sent = task.Merge(k.sent, v)
			c.dirty[id] = true
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
		for id, v := range about {
			k := c.tasks[id]
			k.acked = task.Merge(k.acked, v)
		}
		if c.last != nil && c.r.IntN(4) == 0 { // again: nothing changes
			if _, _, err := request(p, http.MethodPost, "/api/v1/events", c.last); err != nil {
				return err
			}
		}
		c.last = body
		for id := range about {
			if c.r.IntN(4) == 0 {
				if err := c.look(p, id); err != nil {
					return err
				}
			}
		}
	}
}

// look reads one task and wants at least what was acknowledged, and nothing
// that was not sent.
func (c *client) look(p *process, id string) error {
	code, body, err := request(p, http.MethodGet, "/api/v1/invocations/"+id, nil)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return c.absent(id, fmt.Sprintf("%d %s", code, body))
	}
	return c.compare(id, body, false)
}

// absent says whether a task may be missing.
func (c *client) absent(id, answer string) error {
	k := c.tasks[id]
	if k.acked.TaskID == "" || c.expired(k) {
		return nil
	}
	return fmt.Errorf("%s is lost: %s\nacknowledged: %s", id, answer, task.AppendJSON(nil, &k.acked))
}

// expired tells whether retention may have taken a task, or a part of it.
func (c *client) expired(k *known) bool { return k.at.Before(c.gone) }

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
	got.GivenUpAt = 0
	if more := task.Merge(k.sent, got); !bytes.Equal(task.AppendJSON(nil, &more), task.AppendJSON(nil, &k.sent)) {
		return fmt.Errorf("%s says what was never sent:\nanswered %s\n    sent %s\n    both %s", id, answer, task.AppendJSON(nil, &k.sent), task.AppendJSON(nil, &more))
	}
	less := task.Merge(k.acked, got)
	if !c.expired(k) && !bytes.Equal(task.AppendJSON(nil, &less), task.AppendJSON(nil, &got)) {
		return fmt.Errorf("%s has lost what was acknowledged:\n    answered %s\nacknowledged %s", id, answer, task.AppendJSON(nil, &k.acked))
	}
	if started {
		k.acked = less
	}
	return nil
}
