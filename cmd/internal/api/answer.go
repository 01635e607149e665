package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzip"

	"daybook/cmd/internal/params"
)

// piece is how much of an answer is put together before it is sent.
const piece = 64 << 10

// reply sends a small answer whole.
func (a *API) reply(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	out := a.answer(w, r, code)
	out.buf = body
	a.finish(r, out)
}

// answer is a JSON answer that is sent while it is being written: append to
// buf, call spill now and then, and finish.
type answer struct {
	buf     []byte
	w       http.ResponseWriter
	code    int
	gz      *gzip.Writer
	zipped  bool
	started bool
	err     error
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, code int) *answer {
	return &answer{w: w, code: code, zipped: acceptsGzip(r.Header)}
}

// spill sends what has gathered once it is worth it.
func (o *answer) spill() {
	if len(o.buf) >= piece {
		o.send(false)
	}
}

func (a *API) finish(r *http.Request, o *answer) {
	o.send(true)
	if o.err != nil { // the client went away
		level.Debug(a.Logger).Log("msg", "answer not delivered", "path", params.Clip(r.URL.Path), "err", o.err)
	}
}

func (o *answer) send(last bool) {
	if !o.started {
		o.start(last)
	}
	if o.err == nil {
		_, o.err = o.writer().Write(o.buf)
	}
	o.buf = o.buf[:0]
	if last && o.gz != nil && o.err == nil {
		o.err = o.gz.Close()
	}
}

func (o *answer) writer() io.Writer {
	if o.gz != nil {
		return o.gz
	}
	return o.w
}

func (o *answer) start(last bool) {
	o.started = true
	h := o.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding")
	switch {
	case o.zipped:
		h.Set("Content-Encoding", "gzip")
		o.gz, o.err = gzip.NewWriterLevel(o.w, gzip.BestSpeed)
	case last:
		h.Set("Content-Length", strconv.Itoa(len(o.buf)))
	}
	o.w.WriteHeader(o.code)
}

// acceptsGzip reads Accept-Encoding: gzip is named, or *, and not with q=0.
func acceptsGzip(h http.Header) bool {
	star := false
	for _, part := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		ok := true
		if q, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); found {
			f, err := strconv.ParseFloat(q, 64)
			ok = err == nil && f > 0
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			return ok
		case "*":
			star = ok
		}
	}
	return star
}
