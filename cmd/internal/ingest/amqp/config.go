package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"daybook/cmd/internal/ingest"
)

// config is what a broker URL says.
type config struct {
	url      *url.URL
	dial     string // the URL without our options, with the password: never shown
	exchange string
	queue    string // durable; "" is a temporary one
}

// parse reads amqp:// and amqps:// as Celery and RabbitMQ write them.
func parse(raw string) (*config, error) {
	u, err := ingest.ParseURL(raw)
	if err != nil {
		return nil, err
	}
	if kind, _ := ingest.Kind(raw); kind != ingest.KindAMQP {
		return nil, errors.New("broker URL: not one of AMQP")
	}
	if err := ingest.CheckQuery(u, "exchange", "queue", "heartbeat", "connection_timeout", "channel_max", "auth_mechanism",
		"certfile", "keyfile", "cacertfile", "server_name_indication"); err != nil {
		return nil, err
	}
	q := u.Query()
	c := &config{url: u, exchange: q.Get("exchange"), queue: q.Get("queue")}
	if c.exchange == "" {
		c.exchange = "celeryev"
	}
	if m := q.Get("auth_mechanism"); m != "" && !slices.Contains([]string{"PLAIN", "AMQPLAIN", "EXTERNAL"}, strings.ToUpper(m)) {
		return nil, fmt.Errorf("broker URL: auth_mechanism is plain, amqplain or external, not %.20q", m)
	}
	if len(c.exchange) > 255 || len(c.queue) > 255 {
		return nil, errors.New("broker URL: names of exchange and queue have at most 255 bytes")
	}
	q.Del("exchange")
	q.Del("queue")
	plain := *u
	plain.RawQuery = q.Encode()
	c.dial = plain.String()
	if _, err := amqp091.ParseURI(c.dial); err != nil {
		return nil, errors.New("broker URL: not valid for AMQP (amqp://user:password@host:port/vhost)")
	}
	return c, checkTLS(u)
}

// checkTLS refuses what connecting would stumble over, again and again.
func checkTLS(u *url.URL) error {
	q := u.Query()
	ca, cert, key := q.Get("cacertfile"), q.Get("certfile"), q.Get("keyfile")
	if u.Scheme != "amqps" {
		if ca != "" || cert != "" || key != "" {
			return errors.New("broker URL: cacertfile, certfile and keyfile are for amqps://")
		}
		return nil
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("read cacertfile: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return fmt.Errorf("read cacertfile: no certificate in %s", ca)
		}
	}
	if cert != "" || key != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return fmt.Errorf("read certfile and keyfile: %w", err)
		}
	}
	return nil
}
