package amqp

import (
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]struct{ host, user, password, vhost, exchange, queue string }{
		"amqp://":                                      {"localhost", "guest", "guest", "/", "celeryev", ""},
		"amqp://u:p%40%2F@h:1//?queue=daybook":         {"h", "u", "p@/", "/", "celeryev", "daybook"},
		"amqps://u:p@h/tenant?exchange=ev&heartbeat=5": {"h", "u", "p", "tenant", "ev", ""},
		"amqp://h/%2Fodd":                              {"h", "guest", "guest", "/odd", "celeryev", ""},
	} {
		c, err := parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		u, err := amqp091.ParseURI(c.dial)
		if err != nil || u.Host != want.host || u.Username != want.user || u.Password != want.password || u.Vhost != want.vhost || c.exchange != want.exchange || c.queue != want.queue {
			t.Errorf("%s: %+v %s %s %v", in, u, c.exchange, c.queue, err)
		}
	}
	for in, want := range map[string]string{
		"redis://h":                                  "not one of AMQP",
		"amqp://h?que=x":                             "not known",
		"amqp://u:s3cret@h:99x":                      "percent-encoded",
		"amqp://h?heartbeat=often":                   "not valid for AMQP",
		"amqp://u:s3cret@h:99999/":                   "port",
		"amqps://h?cacertfile=/no/such":              "read cacertfile",
		"amqps://h?cacertfile=config.go":             "no certificate",
		"amqps://h?certfile=/no/such&keyfile=/x":     "read certfile",
		"amqps://h?certfile=/no/such":                "read certfile",
		"amqp://h?cacertfile=/no/such":               "for amqps://",
		"amqp://h?auth_mechanism=kerberos":           "auth_mechanism",
		"amqp://h?queue=" + strings.Repeat("q", 256): "255",
	} {
		if _, err := parse(in); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}
