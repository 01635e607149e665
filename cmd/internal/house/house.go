package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Module is the module path that every in-module import begins with.
const Module = "daybook"

// The rules, by the name that a finding carries.
const (
	RuleUnknown   = "unknown-package"
	RuleImport    = "import"
	RuleDriver    = "restricted-dependency"
	RuleStdlib    = "standard-library-only"
	RuleTopLevel  = "top-level"
	RuleReplace   = "no-replace"
	RuleModule    = "one-module"
	RuleName      = "package-name"
	RuleSleep     = "no-sleep-in-tests"
	RuleSkip      = "skip-needs-reason"
	RuleExit      = "exit-only-in-main"
	RuleFileLines = "file-lines"
)

// MaxLines is the longest a hand-written file that is no test may be.
const MaxLines = 500

// A Finding is one violation of one rule.
type Finding struct {
	Pos  string // path or path:line
	Rule string
	Text string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s)", f.Pos, f.Text, f.Rule)
}

// file is one parsed Go file.
type file struct {
	path string // slash-separated, relative to the module
	dir  string // its package, the same way
	ast  *ast.File
	set  *token.FileSet
	size int // lines
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) finding(at token.Pos, rule, format string, args ...any) Finding {
	pos := fmt.Sprintf("%s:%d", f.path, f.set.Position(at).Line)
	return Finding{Pos: pos, Rule: rule, Text: fmt.Sprintf(format, args...)}
}

// Check reads the module in tree and returns what breaks a rule, in order of
// position. The error is for a tree that cannot be read or parsed.
func Check(tree fs.FS) ([]Finding, error) {
	found, err := checkTop(tree)
	if err != nil {
		return nil, err
	}
	files, nested, err := load(tree)
	if err != nil {
		return nil, err
	}
	found = append(found, nested...)
	for _, f := range files {
		found = append(found, checkImports(f)...)
		found = append(found, checkSource(f)...)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Pos < found[j].Pos })
	return found, nil
}

// load parses every Go file of the module, whatever its build constraints. What
// the go tool does not look at (testdata, names with a dot or an underscore) and
// what .gitignore keeps out of the repository is left out.
func load(tree fs.FS) (files []*file, found []Finding, err error) {
	ignored, err := ignoredNames(tree)
	if err != nil {
		return nil, nil, err
	}
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("walk %s: %w", name, err)
		}
		base := path.Base(name)
		if name == "." {
			return nil
		}
		if base[0] == '.' || base[0] == '_' || base == "testdata" || name == base && ignored(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		if base == "go.mod" && name != base {
			found = append(found, Finding{name, RuleModule, "a second module hides from these rules"})
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		f, err := parse(tree, name)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, found, err
}

func parse(tree fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, src, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	lines := strings.Count(string(src), "\n")
	return &file{path: name, dir: path.Dir(name), ast: parsed, set: set, size: lines}, nil
}
