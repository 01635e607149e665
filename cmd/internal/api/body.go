package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
)

// wholeBody is how many times Config.Stall, the limit of one piece, all of a
// body or an answer may take: five minutes, against clients that are slow or stop.
const wholeBody = 10

// zstdWindow is the largest window of a zstd frame that is decoded, which is
// what decoders must support at least (RFC 8878).
const zstdWindow = 8 << 20

// errTooLarge is returned by a body's Read once it exceeds --web.max-body.
var errTooLarge = errors.New("the body is too large")

// errStalled is returned by a body's Read when the client was too slow. The
// request's context has then ended too: net/http sees to that.
var errStalled = errors.New("the body did not arrive in time")

// body is a request's body, decompressed, limited in size and time. Its errors
// are explained by bodyError.
type body struct {
	io.Reader
	stall     *stallReader
	closer    func()
	interrupt func() bool // stops watching the request's context
}

// longAgo ends a Read that is waiting.
var longAgo = time.Unix(1, 0)

func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*body, error) {
	encoding, err := contentEncoding(r.Header)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > a.MaxBody {
		w.Header().Set("Connection", "close") // rather than read what is not wanted
		return nil, a.tooLarge()
	}
	b := &body{
		stall: &stallReader{ctx: r.Context(), r: http.MaxBytesReader(w, r.Body, a.MaxBody),
			control: http.NewResponseController(w), piece: a.Stall, end: time.Now().Add(wholeBody * a.Stall)},
		closer: func() {},
	}
	b.interrupt = context.AfterFunc(r.Context(), func() { _ = b.stall.control.SetReadDeadline(longAgo) })
	switch encoding {
	case "gzip":
		gz, err := gzip.NewReader(b.stall)
		if err != nil {
			b.close(false)
			return nil, a.bodyError(b.stall, err)
		}
		b.Reader = gz
	case "zstd":
		z, err := zstd.NewReader(b.stall, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(uint64(max(a.MaxBody, zstdWindow))))
		if err != nil {
			b.close(false)
			return nil, a.bodyError(b.stall, err)
		}
		b.Reader, b.closer = z, z.Close
	default:
		b.Reader = b.stall
	}
	b.Reader = &limitReader{r: b.Reader, left: a.MaxBody}
	return b, nil
}

// close lets go of the decoder. whole says that the body was read to its end:
// then the connection may be used for as long as the answer takes.
func (b *body) close(whole bool) {
	b.interrupt()
	b.closer()
	if whole {
		// A read deadline that passes while the answer is being worked out
		// would cancel the request.
		_ = b.stall.control.SetReadDeadline(time.Time{})
	}
}

// contentEncoding returns "", "gzip" or "zstd".
func contentEncoding(h http.Header) (string, error) {
	name := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	switch name {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "zstd":
		return "zstd", nil
	}
	return "", refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q is not understood, only gzip and zstd", params.Clip(name))
}

// bodyError turns an error of reading a body into what the client is told.
func (a *API) bodyError(from *stallReader, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge), errors.As(err, &tooLarge),
		errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return a.tooLarge()
	case from.lost():
		return from.ctx.Err()
	case errors.Is(err, errStalled):
		return refuse(http.StatusBadRequest, "%v", errStalled)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(http.StatusBadRequest, "the body is cut short")
	}
	return refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
}

func (a *API) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than --web.max-body, %d bytes (compressed or not)", a.MaxBody)
}

// stallReader gives each piece of the body a deadline, and ends with the
// request's context.
type stallReader struct {
	turn    *tsdb.Turn // rests while a Read waits; nil has none
	ctx     context.Context
	r       io.Reader
	control *http.ResponseController
	piece   time.Duration // limit of one Read
	end     time.Time
	err     error // of a Read before: once the body has ended, so may the request's context
}

func (s *stallReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	deadline := time.Now().Add(s.piece)
	if deadline.After(s.end) {
		deadline = s.end
	}
	_ = s.control.SetReadDeadline(deadline) // not every writer has deadlines (tests); the server's do
	if s.err = s.ctx.Err(); s.err != nil {  // after the deadline was set: see interrupt
		return 0, s.err
	}
	if s.turn != nil {
		s.turn.Rest()
		defer s.turn.Take()
	}
	n, err := s.r.Read(p)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && !time.Now().Before(deadline) {
		err = errStalled // and not interrupted by the request's end
	}
	s.err = err
	return n, err
}

// lost reports whether reading ended because the request did: the daemon is
// shutting down, or the connection is gone. A body that its client ended, too early
// even, is not lost, though its end is that of the request's context, too.
func (s *stallReader) lost() bool {
	ended := s.err == nil || errors.Is(s.err, io.EOF) || errors.Is(s.err, io.ErrUnexpectedEOF) || errors.Is(s.err, errStalled)
	return !ended && s.ctx.Err() != nil
}

// limitReader is io.LimitReader with an error instead of an early end. Its
// errors stay: bufio forgets the ones that a Peek met.
type limitReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		n, err = n-1, errTooLarge
	}
	l.err = err
	return n, err
}
