package amqp

import (
	"errors"
	"net/url"

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
	return c, nil
}
