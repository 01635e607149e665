package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"daybook/tsdb"
)

// afterHangup is how long a request goes on whose client has closed its side of
// the connection. It may be gone, and nobody reads the answer; or, as some
// probes do, it has said all that it had to say and waits: TCP does not tell
// which. So what takes no longer is answered, and the rest ends.
const afterHangup = time.Second

// statusHungUp is what is noted, and told to whoever still reads, when the client
// has closed the connection before the answer was there. The number is nginx's.
const statusHungUp = 499

// outlast gives a request a context that outlasts its client's side of the
// connection a little. Requests with a body keep theirs: reading tells how it
// ended, and what was read to its end is stored in any case.
func outlast(r *http.Request) (_ *http.Request, done func()) {
	if r.ContentLength != 0 || r.ProtoMajor != 1 { // in HTTP/2 only a request that is given up is closed so
		return r, func() {}
	}
	client := r.Context()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(client))
	stop := context.AfterFunc(client, func() {
		if hungUp(client) {
			patience := time.NewTimer(afterHangup)
			defer patience.Stop()
			select {
			case <-patience.C:
			case <-ctx.Done():
			}
		}
		cancel(context.Cause(client))
	})
	return r.WithContext(ctx), func() { stop(); cancel(nil) }
}

// hungUp reports whether a request's context has ended with the client's side of
// the connection, and not with the daemon, which gives tsdb.ErrClosed as the cause.
func hungUp(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), tsdb.ErrClosed)
}
