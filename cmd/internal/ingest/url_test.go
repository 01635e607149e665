package ingest

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"redis://h:6379/0":                                          "redis://h:6379/0",
		"redis://:s3cret@h/0":                                       "redis://:xxxxx@h/0",
		"redis://user:s3cret@h/0":                                   "redis://user:xxxxx@h/0",
		"redis://s3cret@h/0":                                        "redis://xxxxx@h/0",
		"rediss://u:s3%2Fcret@h?ssl_cert_reqs=x":                    "rediss://u:xxxxx@h?ssl_cert_reqs=x",
		"redis+socket:///run/r.sock?password=s3cret&virtual_host=1": "redis+socket:///run/r.sock?password=xxxxx&virtual_host=1",
		"amqp://guest:s3cret@h//":                                   "amqp://guest:xxxxx@h//",
		"amqps://guest@h/v?queue=q":                                 "amqps://guest@h/v?queue=q",
		// This machine, as Celery writes it.
		"redis://":                    "redis://",
		"amqp://":                     "amqp://",
		"redis://?global_keyprefix=x": "redis://?global_keyprefix=x",
		// What cannot be parsed shows nothing.
		"amqp://u:s3cret@h:99999/":      "amqp://xxxxx",
		"redis://h:0":                   "redis://xxxxx",
		"redis://:s3%cret@h":            "redis://xxxxx",
		"redis://u:s3cret@h:port":       "redis://xxxxx",
		"redis://:s3cret/x?@h":          "redis://xxxxx",
		"amqp://u:s3 cret@h":            "amqp://xxxxx",
		"http://u:s3cret@h":             "unknown://xxxxx",
		"s3cret":                        "unknown://xxxxx",
		"redis:s3cret@h":                "unknown://xxxxx",
		"redis://:s3cret@h/0#s3cret":    "redis://xxxxx",
		"redis://h/0?x=%s3cret":         "redis://xxxxx",
		"redis://u:s3cret@h\x00/":       "redis://xxxxx",
		"amqp://u:p@h1;amqp://u:s3cret": "amqp://xxxxx",
		// What net/url takes for an address without a user: digits, or nothing,
		// before the first reserved character of a password are a port.
		"amqp://user:/s3cret@127.0.0.1/vh": "amqp://xxxxx",
		"amqp://user:12/s3cret@127.0.0.1/": "amqp://xxxxx",
		"redis://:2024?s3cret@h/0":         "redis://xxxxx",
		"redis://:2024#s3cret@h/0":         "redis://xxxxx",
		"redis://:/s3cret@h/0":             "redis://xxxxx",
		"redis://u:p@s3/cret@h/0":          "redis://xxxxx", // and one with a user that ends too early
		"redis://u:p@s3?queue=cret@h":      "redis://xxxxx",
		"redis:s3cret://@h":                "unknown://xxxxx",
		"amqp://u%3As3cret@h/":             "amqp://xxxxx@h/", // a colon that should not have been encoded
		"amqp://h/?queue=q&pw=s3cret":      "amqp://h/?pw=xxxxx&queue=q",
		"amqp://h/v%40w?queue=q%40r":       "amqp://h/v%40w?queue=q%40r",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if _, err := ParseURL(in); err != nil && (strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret")) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestRedactHostilePasswords makes passwords of what means something in URLs.
func TestRedactHostilePasswords(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	pieces := []string{
		"/", "?", "#", "@", ":", "%", "&", "=", ";", "[", "]", "//", "://", "%2F", "%40", "%3A", "\\", " ", "+", "é", "\x00", "\n", "\xff",
		"1", "2024", "65535", "queue=", "password=", "redis", mark, mark,
	}
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	for range 50_000 {
		var password strings.Builder
		for range 1 + r.IntN(6) {
			password.WriteString(pick(pieces))
		}
		checkSecret(t, pick([]string{"redis", "rediss", "redis+socket", "amqp", "amqps", "http"})+"://"+pick([]string{"", "user", "1"})+
			":"+password.String()+"@"+pick([]string{"", "h", "127.0.0.1:5672", "[::1]", "h/0", "h//", "h?queue=q", "/run/r.sock"}))
	}
}

// mark stands for a secret: it is in passwords, and nowhere else.
const mark = "S3CRET"

// checkSecret fails if mark is in anything that is said about a URL.
func checkSecret(t *testing.T, raw string) {
	t.Helper()
	if shown := Redact(raw); strings.Contains(shown, mark) {
		t.Fatalf("%q is shown as %q", raw, shown)
	}
	u, err := ParseURL(raw)
	if err != nil {
		if strings.Contains(err.Error(), mark) {
			t.Fatalf("%q: %v", raw, err)
		}
		return
	}
	if shown := Redact(u.String()); strings.Contains(shown, mark) { // as NewFeed does
		t.Fatalf("%q is shown as %q", raw, shown)
	}
}

// TestScrub has a library quote the URL, or the password in any spelling.
func TestScrub(t *testing.T) {
	for _, raw := range []string{"redis://:s3%2Fcret%20%26x@h/0", "amqp://u:s3cret@h/", "redis://s3cret@h/0"} {
		u, err := ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := u.User.Password()
		if secret == "" {
			secret = u.User.Username()
		}
		for _, text := range []string{raw, u.String(), u.User.String(), secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if got := scrub("dial "+text+": refused", u); strings.Contains(got, "s3") || strings.Contains(got, "cret") || !strings.HasPrefix(got, "dial ") || !strings.HasSuffix(got, ": refused") {
				t.Errorf("%s: %s", text, got)
			}
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("redis", "user", "pass/word", "h:1/0")
	f.Add("amqp", "", "p%20@x", "h/v?queue=q")
	f.Add("amqp", "user", "/", "h/v")
	f.Add("redis", "", "2024?", "h")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		if strings.Contains(scheme+user+rest, mark) {
			return
		}
		for _, text := range []string{password, url.QueryEscape(password), url.PathEscape(password)} {
			for _, secret := range []string{mark + text, text + mark} {
				checkSecret(t, fmt.Sprintf("%s://%s:%s@%s", scheme, user, secret, rest))
			}
		}
	})
}

func TestKind(t *testing.T) {
	for in, want := range map[string]string{"redis://h": KindRedis, "rediss://h": KindRedis, "redis+socket:///x": KindRedis, "amqp://h": KindAMQP, "amqps://h": KindAMQP} {
		if got, err := Kind(in); got != want || err != nil {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, in := range []string{"", "h:6379", "kafka://h", "sqs://", "redis:/h"} {
		if _, err := Kind(in); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}
