package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Access says who may use the endpoints, and what is added to every answer.
type Access struct {
	Users   map[string]string // bcrypt hashes by name; without any, everybody may
	Headers map[string]string
	Allow   func() bool // asked for every request, false answers 429; nil allows
}

// maxLogins is how many requests may wait for their password to be checked.
// Checking takes tens of milliseconds, on purpose, so it is done one at a time.
const maxLogins = 16

// Of passwords that were checked so many are remembered. Right and wrong ones
// apart, so that guessing does not push out who is logged in.
const maxRight, maxWrong = 256, 4096

// digest stands for a name, a hash and a password.
type digest [sha256.Size]byte

// logins checks passwords. Passwords themselves are not kept.
type logins struct {
	seed    []byte
	waiting chan struct{}
	turn    chan struct{}

	mu    sync.Mutex
	right map[digest]struct{} // guarded by mu
	wrong map[digest]struct{} // guarded by mu
}

func newLogins() *logins {
	return &logins{
		seed: []byte(rand.Text()), waiting: make(chan struct{}, maxLogins), turn: make(chan struct{}, 1),
		right: make(map[digest]struct{}), wrong: make(map[digest]struct{}),
	}
}

// admit refuses requests that have no business here. The probes are open.
func (a *API) admit(w http.ResponseWriter, r *http.Request, endpoint string) error {
	if a.Access == nil {
		return nil
	}
	access := a.Access()
	for name, value := range access.Headers {
		w.Header().Set(name, value)
	}
	if endpoint == pathHealthy || endpoint == pathReady {
		return nil
	}
	if access.Allow != nil && !access.Allow() {
		return &statusError{code: http.StatusTooManyRequests, retry: retrySoon, text: "too many requests, more than the rate limit of --web.config.file"}
	}
	if len(access.Users) == 0 {
		return nil
	}
	ok := false
	if name, password, given := r.BasicAuth(); given {
		var err error
		if ok, err = a.logins.check(r, access.Users, name, password); err != nil {
			return err
		}
	}
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="daybook", charset="UTF-8"`)
		return refuse(http.StatusUnauthorized, "a name and a password are needed")
	}
	return nil
}

func (l *logins) check(r *http.Request, users map[string]string, name, password string) (bool, error) {
	hash, known := users[name]
	// For an unknown name without a hash: what was found out with that of
	// somebody else says nothing about this name, now or later.
	key := l.digest(name, hash, password)
	if !known { // takes as long, or names could be guessed
		hash = users[firstOf(users)]
	}
	if ok, found := l.remembered(key); found {
		return ok, nil
	}
	select {
	case l.waiting <- struct{}{}:
		defer func() { <-l.waiting }()
	default:
		return false, &statusError{code: http.StatusTooManyRequests, retry: retrySoon, text: "too many passwords to check at once"}
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	if ok, found := l.remembered(key); found { // meanwhile
		return ok, nil
	}
	ok := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && known
	l.remember(key, ok)
	return ok, nil
}

func (l *logins) digest(parts ...string) (d digest) {
	h := hmac.New(sha256.New, l.seed)
	for _, s := range parts { // a hash never fails
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Sum(d[:0])
	return d
}

func (l *logins) remembered(key digest) (ok, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok = l.right[key]
	_, found = l.wrong[key]
	return ok, ok || found
}

func (l *logins) remember(key digest, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, most := l.wrong, maxWrong
	if ok {
		list, most = l.right, maxRight
	}
	if len(list) >= most {
		clear(list)
	}
	list[key] = struct{}{}
}

func firstOf(users map[string]string) string {
	return slices.Min(slices.Collect(maps.Keys(users)))
}
