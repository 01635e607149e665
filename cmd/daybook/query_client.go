package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/tsdb"
	"daybook/tsdb/task"
)

// daemonFlags say where a daemon may be, and how to trust it.
type daemonFlags struct {
	url   string
	trust trustFlags
}

func (f *daemonFlags) register(cmd *kingpin.CmdClause) {
	cmd.Flag("url", "Where the daemon may be, as in https://user:password@db.example.com:8365; empty does not ask one.").Default("http://127.0.0.1:8365").StringVar(&f.url)
	f.trust.register(cmd)
}

// client returns nil if no daemon is to be asked.
func (f *daemonFlags) client() (*daemonClient, error) {
	if f.url == "" {
		return nil, nil
	}
	u, err := parseDaemonURL(f.url)
	if err != nil {
		return nil, err
	}
	trust, err := f.trust.config()
	if err != nil {
		return nil, err
	}
	dial := &net.Dialer{Timeout: 5 * time.Second}
	return &daemonClient{base: strings.TrimSuffix(f.url, "/"), shown: u.Redacted(), http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial.DialContext, ResponseHeaderTimeout: 10 * time.Minute,
		TLSClientConfig: trust,
	}}}, nil
}

// noDaemonError is returned when nothing that is a daemon answers.
type noDaemonError struct{ text string }

func (e *noDaemonError) Error() string { return e.text }

// daemonClient asks a daemon for pages.
type daemonClient struct {
	base, shown string // shown is without the password
	http        *http.Client
	answered    bool // as a daemon does
}

// busyFor is how long a daemon is asked again that has no time.
const busyFor = 30 * time.Second

func (c *daemonClient) page(ctx context.Context, given url.Values) (queryPage, error) {
	for deadline := time.Now().Add(busyFor); ; {
		page, wait, err := c.try(ctx, given)
		if wait == 0 || time.Now().Add(wait).After(deadline) {
			return page, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return page, ctx.Err()
		}
	}
}

// try asks once; wait is after how long it is worth asking again, 0 if it is
// not.
func (c *daemonClient) try(ctx context.Context, given url.Values) (page queryPage, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/invocations?"+given.Encode(), nil)
	if err != nil {
		return page, 0, errors.New("--url is no address such as http://127.0.0.1:8365")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" && !c.answered && ctx.Err() == nil {
			return page, 0, &noDaemonError{"no daemon answers at " + c.shown}
		}
		return page, 0, err // names the address, without the password
	}
	defer resp.Body.Close() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<30))
	if err != nil {
		return page, 0, fmt.Errorf("read the answer of %s: %w", c.shown, err)
	}
	var said struct {
		Error string `json:"error"`
	}
	isJSON := json.Unmarshal(body, &said) == nil
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return page, 0, wantsPassword(c.shown, resp)
	case isJSON && said.Error != "":
		c.answered = true
		if code := resp.StatusCode; code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil || seconds < 1 {
				seconds = 1
			}
			wait = time.Duration(min(seconds, 60)) * time.Second
		}
		return page, wait, answerError(resp, body)
	case resp.StatusCode == http.StatusOK && isJSON:
		if page, err = readPage(body); err == nil {
			c.answered = true
			return page, 0, nil
		}
	}
	if err == nil {
		err = errors.New(resp.Status + " " + printable(strings.TrimSpace(string(body[:min(len(body), 100)]))))
	}
	if c.answered {
		return page, 0, fmt.Errorf("%s answers %w", c.shown, err)
	}
	return page, 0, &noDaemonError{fmt.Sprintf("what answers at %s is no daemon of this kind (%v)", c.shown, err)}
}

// readPage reads what GET /api/v1/invocations answers.
func readPage(body []byte) (p queryPage, err error) {
	var a struct {
		Invocations *[]json.RawMessage `json:"invocations"`
		NextCursor  string             `json:"next_cursor"`
		Complete    bool               `json:"complete"`
		Coverage    struct {
			From          json.Number `json:"from"`
			To            json.Number `json:"to"`
			RetentionFrom json.Number `json:"retention_from"`
			Complete      bool        `json:"complete"`
			Gaps          []struct {
				From   json.Number `json:"from"`
				To     json.Number `json:"to"`
				Source string      `json:"source"`
				Cause  string      `json:"cause"`
				Count  int64       `json:"count"`
			} `json:"gaps"`
			Unreadable []string `json:"unreadable"`
			Inexact    bool     `json:"inexact"`
		} `json:"coverage"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return p, err
	}
	if a.Invocations == nil {
		return p, errors.New("no invocations in the answer")
	}
	for _, raw := range *a.Invocations {
		v, err := task.ParseJSON(raw)
		if err != nil {
			return p, fmt.Errorf("an invocation of the answer: %w", err)
		}
		p.Invocations = append(p.Invocations, v)
	}
	at := func(n json.Number) int64 {
		if n == "" {
			return 0
		}
		us, timeErr := task.ParseSeconds(n.String())
		if err == nil {
			err = timeErr
		}
		return us
	}
	p.next, p.Complete = a.NextCursor, a.Complete
	c := &a.Coverage
	p.Coverage = tsdb.Coverage{From: at(c.From), To: at(c.To), RetentionFrom: at(c.RetentionFrom), Complete: c.Complete, Unreadable: c.Unreadable, Inexact: c.Inexact}
	for _, g := range c.Gaps {
		p.Coverage.Gaps = append(p.Coverage.Gaps, tsdb.Gap{From: at(g.From), To: at(g.To), Source: g.Source, Cause: g.Cause, Count: g.Count})
	}
	return p, err
}
