package redis

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]struct{ network, addr, user, password, pattern string }{
		"redis://":                              {"tcp", "localhost:6379", "", "", "/0.celeryev/*"},
		"redis://h/5":                           {"tcp", "h:6379", "", "", "/5.celeryev/*"},
		"redis://u:p%2F%40@[::1]:7/":            {"tcp", "[::1]:7", "u", "p/@", "/0.celeryev/*"},
		"redis://:p@h:7/0?exchange=ev":          {"tcp", "h:7", "", "p", "/0.ev/*"},
		"rediss://h/1":                          {"tcp", "h:6379", "", "", "/1.celeryev/*"},
		"redis+socket:///run/r.sock":            {"unix", "/run/r.sock", "", "", "/0.celeryev/*"},
		"redis+socket:///r.sock?virtual_host=4": {"unix", "/r.sock", "", "", "/4.celeryev/*"},
		"redis+socket://:p@/r.sock":             {"unix", "/r.sock", "", "p", "/0.celeryev/*"},
		// The prefixes of Celery's broker_transport_options; globs are text.
		"redis://h?global_keyprefix=tenant1:":               {"tcp", "h:6379", "", "", "tenant1:/0.celeryev/*"},
		"redis://h?global_keyprefix=app[1]*%3F%5C:":         {"tcp", "h:6379", "", "", `app\[1\]\*\?\\:/0.celeryev/*`},
		"redis://h/3?fanout_prefix=x/{db}.":                 {"tcp", "h:6379", "", "", "x/3.celeryev/*"},
		"redis://h?fanout_prefix=true":                      {"tcp", "h:6379", "", "", "/0.celeryev/*"},
		"redis://h?fanout_prefix=false":                     {"tcp", "h:6379", "", "", "celeryev*"},
		"redis://h?fanout_prefix=false&global_keyprefix=a.": {"tcp", "h:6379", "", "", "a.celeryev*"},
		"redis://h?fanout_patterns=false":                   {"tcp", "h:6379", "", "", "/0.celeryev"},
	} {
		c, err := parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if o := c.client; o.Network != want.network || o.Addr != want.addr || o.Username != want.user || o.Password != want.password || c.pattern != want.pattern || (o.TLSConfig != nil) != strings.HasPrefix(in, "rediss") {
			t.Errorf("%s: %s %s %q %q %s, want %v", in, o.Network, o.Addr, o.Username, o.Password, c.pattern, want)
		}
	}
	for in, want := range map[string]string{
		"redis://h/x":                             "not a number",
		"redis://h/-1":                            "not a number",
		"redis://h?fanout_prefx=x":                "not known",
		"redis://h?exchange=a&exchange=b":         "more than once",
		"redis://h?fanout_patterns=maybe":         "fanout_patterns",
		"redis://h?ssl_cert_reqs=none":            "rediss",
		"rediss://h?ssl_cert_reqs=perhaps":        "ssl_cert_reqs",
		"rediss://h?ssl_ca_certs=/does/not/exist": "ssl_ca_certs",
		"redis+socket://run/r.sock":               "absolute path",
		"amqp://h":                                "not one of Redis",
		"redis://:p%zz@h":                         "percent-encoded",
	} {
		if _, err := parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	c, err := parse("rediss://h?ssl_cert_reqs=CERT_NONE")
	if err != nil || !c.client.TLSConfig.InsecureSkipVerify {
		t.Error(err)
	}
}

func TestQueue(t *testing.T) {
	q := newQueue(1000)
	if !q.put(strings.Repeat("x", 5000)) {
		t.Fatal("an empty queue has room for anything")
	}
	if q.put("y") {
		t.Fatal("a full queue has room")
	}
	m, bytes, ok := q.take(nil)
	if !ok || len(m) != 1 {
		t.Fatal(m, ok)
	}
	if q.put("y") {
		t.Fatal("what is being stored is still in memory")
	}
	if !q.done(bytes) || !q.put("y") || !q.put("z") {
		t.Fatal("no room")
	}
	q.close()
	if m, _, ok := q.take(m); !ok || len(m) != 2 || m[0] != "y" || m[1] != "z" {
		t.Fatal(m, ok)
	}
	if _, _, ok := q.take(nil); ok {
		t.Fatal("no end")
	}
}
