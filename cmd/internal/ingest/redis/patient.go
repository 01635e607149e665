package redis

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// patientConn takes a read deadline as a bound of silence: a message that comes
// slowly is read to its end. The library would lose the half of it that it has.
type patientConn struct {
	net.Conn
	silence time.Duration // 0 is no bound
	whole   bool          // the last byte may have been the end of a message
}

// errHalf is a silence in the middle of a message.
var errHalf = errors.New("silence in the middle of a message")

func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.silence = 0
	if !t.IsZero() {
		c.silence = max(time.Until(t), 1)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *patientConn) Read(p []byte) (int, error) {
	if c.silence > 0 {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.whole = p[n-1] == '\n'
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.whole {
		err = errHalf
	}
	return n, err
}

// patient has the connections that are made with options be patient.
func patient(o *goredis.Options) {
	plain := goredis.NewDialer(o)
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := plain(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &patientConn{Conn: conn, whole: true}, nil
	}
}

// wordless is an error without what came over the connection: the library
// quotes it where it does not understand it.
func wordless(err error) error {
	if s := err.Error(); strings.Contains(s, "redis: can't parse") || strings.Contains(s, "redis: invalid") {
		return errors.New("what came is not the protocol of Redis")
	}
	return err
}
