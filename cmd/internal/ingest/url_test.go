package ingest

import (
	"fmt"
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
		// What cannot be parsed shows nothing.
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
	} {
		if got := Redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if _, err := ParseURL(in); err != nil && (strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret")) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("redis", "user", "pass/word", "h:1/0")
	f.Add("amqp", "", "p%20@x", "h/v?queue=q")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		const mark = "S3CRET"
		for _, text := range []string{password, url.QueryEscape(password), url.PathEscape(password)} {
			raw := fmt.Sprintf("%s://%s:%s@%s", scheme, user, mark+text, rest)
			if strings.Contains(scheme+user+rest, mark) || strings.ContainsAny(user, "/?#") {
				return
			}
			if shown := Redact(raw); strings.Contains(shown, mark) && strings.IndexAny(mark+text, "/?#") < 0 {
				t.Fatalf("%q shows %q", raw, shown)
			}
			if _, err := ParseURL(raw); err != nil && strings.Contains(err.Error(), mark) {
				t.Fatalf("%q: %v", raw, err)
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
