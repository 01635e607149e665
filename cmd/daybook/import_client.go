package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How long the daemon is waited for: each try waits for what it asks for, or
// twice as long as the last one, and after retryFor it is given up.
const (
	firstWait = 200 * time.Millisecond
	longWait  = 10 * time.Second
	retryFor  = 2 * time.Minute
)

// importAnswer is what POST /api/v1/invocations answers.
type importAnswer struct {
	sum
	Errors []struct {
		Line  int    `json:"line"`
		Error string `json:"error"`
	} `json:"errors"`
}

// tooLargeError is returned for a body that the daemon does not take.
type tooLargeError struct{ text string }

func (e *tooLargeError) Error() string { return e.text }

// importClient posts lines to a daemon.
type importClient struct {
	endpoint string
	shown    string // the address without the password
	http     *http.Client
	reached  bool // it answered before, so that it may come back
}

func newImportClient(base string, trust trustFlags) (*importClient, error) {
	u, err := parseDaemonURL(base)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.TLSClientConfig, err = trust.config(); err != nil {
		return nil, err
	}
	return &importClient{
		shown:    u.Redacted(),
		endpoint: strings.TrimSuffix(base, "/") + "/api/v1/invocations",
		// A redirect would turn the POST into a GET, whose answer is not about the lines.
		http: &http.Client{Timeout: time.Minute, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// post sends lines until they are taken or refused. Sending them twice changes
// nothing: lines are merged by task_id.
func (c *importClient) post(ctx context.Context, lines []line) (importAnswer, error) {
	var body []byte
	for _, l := range lines {
		body = append(append(body, l.text...), '\n')
	}
	deadline := time.Now().Add(retryFor)
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		a, after, err := c.try(ctx, body)
		if told := a.Accepted + a.Ignored + a.Rejected + a.Dropped; err == nil && told < len(lines) {
			return importAnswer{}, fmt.Errorf("the answer tells of %d lines, and %d were sent: what is at --url is no Daybook", told, len(lines))
		}
		var busy *busyError
		if !errors.As(err, &busy) {
			return a, err
		}
		if after = max(after, wait); time.Now().Add(after).After(deadline) {
			return a, fmt.Errorf("given up after %s: %w", retryFor, err)
		}
		timer := time.NewTimer(after)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return a, ctx.Err()
		}
	}
}

// busyError is returned when another try may help.
type busyError struct{ error }

// try posts once. after is how long the daemon asks to be left alone.
func (c *importClient) try(ctx context.Context, body []byte) (a importAnswer, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return a, 0, fmt.Errorf("ask the daemon: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if c.reached && ctx.Err() == nil {
			err = &busyError{err}
		}
		return a, 0, err // names the method and the address
	}
	defer resp.Body.Close() // only read from
	c.reached = true
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, 0, &busyError{fmt.Errorf("read the answer: %w", err)}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return a, 0, wantsPassword(c.shown, resp)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return a, 0, fmt.Errorf("--url leads elsewhere: the answer is %s, to %s", resp.Status, elsewhere(resp))
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout, http.StatusBadGateway:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 0 {
			seconds = 0
		}
		return a, time.Duration(min(seconds, 60)) * time.Second, &busyError{answerError(resp, answer)}
	case http.StatusRequestEntityTooLarge:
		return a, 0, &tooLargeError{answerError(resp, answer).Error()}
	case http.StatusOK, http.StatusBadRequest:
		// A 400 with counts says that every line was refused.
		if json.Unmarshal(answer, &a) == nil && (resp.StatusCode == http.StatusOK || a.Rejected > 0) {
			return a, 0, nil
		}
	}
	return a, 0, answerError(resp, answer)
}

// elsewhere is where a redirect leads, without a password.
func elsewhere(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return printable(to.Redacted())
}

// answerError is what the daemon said was wrong.
func answerError(resp *http.Response, body []byte) error {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		return fmt.Errorf("the daemon answers %s: %s", resp.Status, e.Error)
	}
	return fmt.Errorf("the daemon answers %s", resp.Status)
}
