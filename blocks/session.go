package blocks

import (
	"fmt"
)

// attachment is a file as a session attaches it.
type attachment struct {
	path string
	mode fileMode // modeRead or modeImmutable
}

// fileError is an error that one file is to blame for: the others can still
// answer.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("reading %s: %v", e.path, e.err) }
func (e *fileError) Unwrap() error { return e.err }

const (
	// maxSlots bounds the files of one connection where SQLite would attach
	// more: a connection keeps a few hundred statements, each for one slot.
	maxSlots = 24
	// maxStatements is how many statements a session begins a day with at most. It
	// leaves room below the bound at which prepare closes statements,
	// because that would end an open cursor without an error.
	maxStatements = 144
	// sessionCache is the page cache of one connection, in KiB.
	sessionCache = 16 << 10
)

// session is a connection to which files are attached as d0, d1, … It is used
// by one reader at a time.
type session struct {
	c     *conn
	pool  *Pool
	slots []slot
	at    map[string]int // path: index in slots
	clock int64
	begun bool
}

// slot is one schema name; free if its path is empty.
type slot struct {
	path string
	used int64
}

// openSession opens a connection that cannot write.
func (p *Pool) openSession() (*session, error) {
	c, err := openMemory()
	if err != nil {
		return nil, err
	}
	limit := min(c.attachLimit(), maxSlots)
	if p.limit != 0 {
		limit = min(p.limit, c.attachLimit())
	}
	if err := c.script("PRAGMA query_only = 1"); err != nil {
		c.close()
		return nil, err
	}
	p.mu.Lock()
	p.mu.open++
	p.mu.Unlock()
	return &session{c: c, pool: p, slots: make([]slot, limit), at: map[string]int{}}, nil
}

func schemaName(i int) string { return fmt.Sprintf("d%d", i) }

// schema is the name under which an attached file is read.
func (s *session) schema(path string) string { return schemaName(s.at[path]) }

func (s *session) missing(files []attachment) int {
	n := 0
	for _, f := range files {
		if _, ok := s.at[f.path]; !ok {
			n++
		}
	}
	return n
}

func (s *session) room() int { return len(s.slots) - len(s.at) }

// retired returns one of the paths that is attached here, "" if none is.
func (s *session) retired(paths map[string]bool) string {
	if len(paths) > 0 {
		for path := range s.at {
			if paths[path] {
				return path
			}
		}
	}
	return ""
}

// ensure attaches the files, in place of those that were not used for longest.
func (s *session) ensure(files []attachment) error {
	if len(files) > len(s.slots) {
		return fmt.Errorf("%d files are to be attached at once, the limit is %d", len(files), len(s.slots))
	}
	if len(s.c.stmts) > maxStatements {
		s.c.forget()
	}
	s.clock++
	for _, f := range files {
		if i, ok := s.at[f.path]; ok {
			s.slots[i].used = s.clock
		}
	}
	for _, f := range files {
		if err := s.attach(f); err != nil {
			return &fileError{path: f.path, err: err}
		}
	}
	return nil
}

func (s *session) attach(f attachment) error {
	if _, ok := s.at[f.path]; ok {
		return nil
	}
	oldest := 0
	for i := range s.slots {
		if s.slots[i].used < s.slots[oldest].used {
			oldest = i
		}
	}
	if old := s.slots[oldest].path; old != "" {
		if err := s.detach(old); err != nil {
			return err
		}
	}
	// Held before it is opened: who unlinks it waits from now on.
	s.pool.hold(f.path)
	name := schemaName(oldest)
	if err := s.c.exec("ATTACH ? AS "+name, fileURI(f.path, f.mode)); err != nil {
		s.pool.unhold(f.path)
		return err
	}
	s.slots[oldest] = slot{path: f.path, used: s.clock}
	s.at[f.path] = oldest
	return s.c.script(fmt.Sprintf("PRAGMA %s.cache_size = -%d", name, max(sessionCache/len(s.slots), 128)))
}

// detach lets go of a file. It expires the session's prepared statements;
// SQLite prepares each again when it is next used.
func (s *session) detach(path string) error {
	i, ok := s.at[path]
	if !ok {
		return nil
	}
	if err := s.c.exec("DETACH " + schemaName(i)); err != nil {
		return err
	}
	s.slots[i] = slot{}
	delete(s.at, path)
	s.pool.unhold(path)
	return nil
}

// begin starts a read transaction: from the first statement on a live file,
// all of them see the file as it was then.
func (s *session) begin() error {
	if err := s.c.exec("BEGIN"); err != nil {
		return err
	}
	s.begun = true
	return nil
}

func (s *session) end() error {
	if !s.begun {
		return nil
	}
	s.begun = false
	return s.c.exec("COMMIT")
}
