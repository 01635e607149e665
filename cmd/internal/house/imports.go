package house

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// room is a row of the import table: what a package may import inside the
// module. Packages below room/internal belong to the room: they follow its row,
// and may be imported from it.
type room struct {
	may      []string // exact packages; "*" is all of them
	tests    []string // more, for _test.go files
	stdlib   bool     // nothing from other modules, tests included
	isolated bool     // nothing may import it
}

// leaves are the packages below tsdb that everything may use: never the facade itself.
var leaves = []string{"tsdb/task", "tsdb/rollup", "tsdb/text", "tsdb/fault"}

const needsCgo = "cmd/internal/daybook_needs_cgo_install_gcc_and_set_CGO_ENABLED_1"

// rooms is the table of the architecture, and the only list of packages. A last
// element of "*" stands for one path element.
var rooms = map[string]room{
	"tsdb/task":   {stdlib: true},
	"tsdb/fault":  {stdlib: true},
	"tsdb/rollup": {may: []string{"tsdb/task"}},
	"tsdb/text":   {may: []string{"tsdb/task"}},
	"head/wal":    {},
	"head":        {may: with(leaves, "head/wal"), tests: []string{"tsdb/load"}},
	"blocks":      {may: leaves, tests: []string{"tsdb/load"}},
	// The reference load and what it is measured against: for benchmarks and
	// tests, never for what serves.
	"tsdb/load":        {may: []string{"tsdb/task"}},
	"blocks/yardstick": {may: []string{"tsdb/task"}, tests: []string{"tsdb/load"}},
	"compact":          {may: with(leaves, "blocks")},
	"tsdb":             {may: with(leaves, "head", "head/wal", "blocks", "compact"), tests: []string{"tsdb/load"}},

	// How Celery's events are read is handed to the API; its tests hand it in too.
	"cmd/internal/api":    {may: with(leaves, "tsdb", "cmd/internal/params", "cmd/internal/render"), tests: []string{"cmd/internal/celery", "tsdb/load"}},
	"cmd/internal/params": {may: with(leaves, "tsdb", "cmd/internal/units")},
	"cmd/internal/render": {may: with(leaves, "tsdb")},
	"cmd/internal/units":  {},
	"cmd/internal/redact": {may: []string{"tsdb/task"}},
	"cmd/internal/celery": {may: []string{"tsdb/task"}},
	// What the consumers share, and the consumers.
	"cmd/internal/ingest":   {may: []string{"cmd/internal/celery", "tsdb/task"}, tests: []string{"cmd/internal/ingest/amqp", "cmd/internal/ingest/redis", "tsdb"}},
	"cmd/internal/ingest/*": {may: []string{"cmd/internal/ingest", "cmd/internal/ingest/internal/brokers", "cmd/internal/celery", "tsdb/task"}},
	"cmd/internal/daemon":   {may: []string{"*"}},
	// It measures the daemon from outside, and day files from inside.
	"cmd/internal/bench": {may: []string{"blocks", "blocks/yardstick", "tsdb/load", "tsdb/task"}},
	// Everything may use tsdb/task except what is below it or knows no tasks.
	"cmd/daybook": {
		may:   []string{"cmd/internal/bench", "cmd/internal/daemon", "cmd/internal/params", "cmd/internal/render", "cmd/internal/units", "tsdb", "tsdb/task", "blocks", needsCgo},
		tests: []string{"*"},
	},

	"cmd/internal/house": {isolated: true},
	needsCgo:             {stdlib: true},
}

// restricted are dependencies with few doors, by prefix of their import path.
var restricted = []struct{ module, door string }{
	{"github.com/mattn/go-sqlite3", "blocks"},
	{"github.com/mattn/go-sqlite3", "blocks/yardstick"},
	{"github.com/oklog/run", "cmd/internal/daemon"},
	{"github.com/alecthomas/kingpin", "cmd/daybook"},
	{"gopkg.in/alecthomas/kingpin.v2", "cmd/daybook"},
	{"github.com/redis", "cmd/internal/ingest/*"},
	{"github.com/go-redis", "cmd/internal/ingest/*"},
	{"github.com/gomodule/redigo", "cmd/internal/ingest/*"},
	{"github.com/rabbitmq", "cmd/internal/ingest/*"},
	{"github.com/streadway/amqp", "cmd/internal/ingest/*"},
}

func with(list []string, more ...string) []string {
	return append(append([]string(nil), list...), more...)
}

// roomOf returns the row that pkg follows: its own, or that of the package whose
// internal one it is.
func roomOf(pkg string) (r room, ok bool) {
	for name, r := range rooms {
		if within(pkg, name) {
			return r, true
		}
	}
	return room{}, false
}

// within reports whether pkg, or the package it is internal to, is the named room.
func within(pkg, name string) bool {
	match, err := path.Match(name, owner(pkg))
	return err == nil && match
}

// owner cuts /internal/… off a package. cmd/internal belongs to nobody: what is
// in it are rooms of their own.
func owner(pkg string) string {
	prefix := ""
	if strings.HasPrefix(pkg, "cmd/internal/") {
		prefix, pkg = pkg[:len("cmd/internal/")], pkg[len("cmd/internal/"):]
	}
	pkg, _, _ = strings.Cut(pkg, "/internal/")
	return prefix + pkg
}

func checkImports(f *file) []Finding {
	r, ok := roomOf(f.dir)
	if !ok {
		return []Finding{f.finding(f.ast.Package, RuleUnknown,
			"%s has no place in the house: see rooms in cmd/internal/house/imports.go", f.dir)}
	}
	var found []Finding
	for _, spec := range f.ast.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has seen to it
		}
		if pkg, ok := inModule(target); ok {
			if !r.mayImport(f, pkg) {
				found = append(found, f.finding(spec.Pos(), RuleImport,
					"%s may not import %s, only %s", f.dir, pkg, r.list()))
			}
			continue
		}
		if r.stdlib && !isStdlib(target) {
			found = append(found, f.finding(spec.Pos(), RuleStdlib,
				"%s may import the standard library only, not %s", f.dir, target))
		}
		if doors := doorsOf(target); doors != nil && !slices.ContainsFunc(doors, func(d string) bool { return within(f.dir, d) }) && !(f.isTest() && r.anyTest()) {
			found = append(found, f.finding(spec.Pos(), RuleDriver,
				"%s is imported in %s only", target, strings.Join(doors, ", ")))
		}
	}
	return found
}

func (r room) mayImport(f *file, pkg string) bool {
	if owner(pkg) == owner(f.dir) {
		return true // its own internal packages, and itself in an external test
	}
	if to, ok := roomOf(pkg); ok && to.isolated {
		return false
	}
	list := r.may
	if f.isTest() {
		list = with(list, r.tests...)
	}
	for _, allowed := range list {
		if allowed == "*" || allowed == pkg {
			return true
		}
	}
	return false
}

func (r room) anyTest() bool {
	for _, allowed := range r.tests {
		if allowed == "*" {
			return true
		}
	}
	return false
}

func (r room) list() string {
	if len(r.may) == 0 {
		return "other modules"
	}
	return strings.Join(r.may, ", ")
}

// inModule returns the package of this module that an import path names.
func inModule(target string) (pkg string, ok bool) {
	if target == Module {
		return ".", true
	}
	return strings.CutPrefix(target, Module+"/")
}

func isStdlib(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return !strings.Contains(first, ".") && target != "C"
}

func doorsOf(target string) (doors []string) {
	for _, d := range restricted {
		if target == d.module || strings.HasPrefix(target, d.module+"/") {
			doors = append(doors, d.door)
		}
	}
	return doors
}
