package house

import (
	"errors"
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse holds this repository to the rules.
func TestHouse(t *testing.T) {
	found, err := Check(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// moduleRoot walks up to the go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			t.Fatalf("look for go.mod: %v", err)
		}
		dir = filepath.Dir(dir)
	}
}

// What make race leaves out for having nothing to race with starts no goroutine and
// guards nothing.
func TestNothingToRaceWith(t *testing.T) {
	root := moduleRoot(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^RACED = .* grep -v -E '(\S+)'$`).FindSubmatch(makefile)
	if found == nil {
		t.Fatal("the Makefile does not say what is raced")
	}
	out, err := regexp.Compile(strings.ReplaceAll(string(found[1]), "$$", "$"))
	if err != nil {
		t.Fatal(err)
	}
	files, _, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]bool{}
	for _, f := range files {
		if f.dir == mainPackage || !out.MatchString(Module+"/"+f.dir) {
			continue
		}
		dirs[f.dir] = true
		for _, path := range importNames(f.ast) {
			if strings.HasPrefix(path, "sync") && !f.isTest() {
				t.Errorf("%s imports %s: its package is to be raced", f.path, path)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Error(f.finding(g.Pos(), "raced", "its package is to be raced"))
			}
			return true
		})
	}
	if len(dirs) != 10 {
		t.Errorf("%d packages are left out: %v", len(dirs), dirs)
	}
}

// tree is a small house in which nothing is wrong, with some files put over it.
func tree(over map[string]string) fstest.MapFS {
	files := fstest.MapFS{
		"go.mod":               {Data: []byte("module daybook\n\ngo 1.26.0\n")},
		"README.md":            {},
		".gitignore":           {Data: []byte("/bin/\n/data/\n*.prof\n")},
		".ci/run":              {},
		"docs/adr/README.md":   {},
		"tsdb/task/task.go":    {Data: []byte("package task\n")},
		"cmd/daybook/main.go":  {Data: []byte("package main\n\nimport \"os\"\n\nfunc main() { os.Exit(run()) }\n")},
		"cmd/daybook/serve.go": {Data: []byte("package main\n\nfunc run() int { return 0 }\n")},
	}
	for name, text := range over {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func rulesOf(t *testing.T, files fstest.MapFS) []string {
	t.Helper()
	found, err := Check(files)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, f := range found {
		rules = append(rules, f.Rule)
	}
	return rules
}

const (
	inTest  = "package x\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { "
	oneLine = "var _ = 1\n"
)

// violations break one rule each.
var violations = []struct {
	name, rule, path, text string
}{
	{"a package without a row", RuleUnknown, "tsdb/other/x.go", "package other\n"},
	{"a package under cmd without a row", RuleUnknown, "cmd/internal/other/x.go", "package other\n"},
	{"a command without a row", RuleUnknown, "cmd/other/x.go", "package main\n"},
	{"Go among the docs", RuleUnknown, "docs/x.go", "package docs\n"},

	{"head imports blocks", RuleImport, "head/x.go", "package head\n\nimport _ \"daybook/blocks\"\n"},
	{"head's test imports blocks", RuleImport, "head/x_test.go", "package head_test\n\nimport _ \"daybook/blocks\"\n"},
	{"behind a build tag", RuleImport, "head/x.go", "//go:build never\n\npackage head\n\nimport _ \"daybook/blocks\"\n"},
	{"for another system", RuleImport, "head/x_windows.go", "package head\n\nimport _ \"daybook/blocks\"\n"},
	{"an internal package is its owner's", RuleImport, "head/internal/y/x.go", "package y\n\nimport _ \"daybook/blocks\"\n"},
	{"under another name", RuleImport, "blocks/x.go", "package blocks\n\nimport h \"daybook/head\"\n\nvar _ = h.Open\n"},
	{"a leaf imports the facade", RuleImport, "blocks/x.go", "package blocks\n\nimport _ \"daybook/tsdb\"\n"},
	{"a broker imports a broker", RuleImport, "cmd/internal/ingest/redis/x.go", "package redis\n\nimport _ \"daybook/cmd/internal/ingest/amqp\"\n"},
	{"somebody imports the house", RuleImport, "cmd/internal/daemon/x.go", "package daemon\n\nimport _ \"daybook/cmd/internal/house\"\n"},
	{"the top level is imported", RuleImport, "head/x.go", "package head\n\nimport _ \"daybook\"\n"},

	{"a second SQLite door", RuleDriver, "compact/x.go", "package compact\n\nimport _ \"github.com/mattn/go-sqlite3\"\n"},
	{"a second SQLite door in a test", RuleDriver, "tsdb/x_test.go", "package tsdb\n\nimport _ \"github.com/mattn/go-sqlite3\"\n"},
	{"oklog/run in main", RuleDriver, "cmd/daybook/x.go", "package main\n\nimport _ \"github.com/oklog/run\"\n"},
	{"kingpin in the daemon", RuleDriver, "cmd/internal/daemon/x.go", "package daemon\n\nimport _ \"github.com/alecthomas/kingpin/v2\"\n"},
	{"redis in the daemon", RuleDriver, "cmd/internal/daemon/x.go", "package daemon\n\nimport _ \"github.com/redis/go-redis/v9\"\n"},
	{"amqp in celery", RuleDriver, "cmd/internal/celery/x.go", "package celery\n\nimport _ \"github.com/rabbitmq/amqp091-go\"\n"},

	{"task needs another module", RuleStdlib, "tsdb/task/x.go", "package task\n\nimport _ \"github.com/go-kit/log\"\n"},
	{"task's test needs another module", RuleStdlib, "tsdb/task/x_test.go", "package task\n\nimport _ \"go.uber.org/goleak\"\n"},

	{"a file at the top level", RuleTopLevel, "notes.txt", ""},
	{"a directory at the top level", RuleTopLevel, "scripts/x.sh", ""},
	{"a replace", RuleReplace, "go.mod", "module daybook\n\nreplace a.example.com/x => ../x\n"},
	{"a block of replaces", RuleReplace, "go.mod", "module daybook\n\nreplace (\n\ta.example.com/x => ../x\n)\n"},
	{"another module path", RuleModule, "go.mod", "module example.com/daybook\n"},
	{"a nested module", RuleModule, "blocks/go.mod", "module daybook/blocks\n"},

	{"package util", RuleName, "head/x.go", "package util\n"},
	{"package common", RuleName, "head/x_test.go", "package common_test\n"},
	{"directory helpers", RuleName, "head/internal/helpers/x.go", "package h\n"},
	{"directory utils", RuleName, "head/internal/utils/x.go", "package u\n"},

	{"a test sleeps", RuleSleep, "head/x_test.go", "package head\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n"},
	{"a test sleeps by another name", RuleSleep, "head/x_test.go", "package head\n\nimport clock \"time\"\n\nvar f = clock.Sleep\n"},

	{"a skip without a word", RuleSkip, "head/x_test.go", inTest + "t.SkipNow() }\n"},
	{"a skip without a reason", RuleSkip, "head/x_test.go", inTest + "t.Skip() }\n"},
	{"a skip because", RuleSkip, "head/x_test.go", inTest + "t.Skip(\"flaky\") }\n"},
	{"a skip with a computed reason", RuleSkip, "head/x_test.go", inTest + "t.Skipf(why, 1) }\n"},
	{"a benchmark skips", RuleSkip, "head/x_test.go", "package x\n\nimport \"testing\"\n\nfunc f(tb testing.TB) { tb.Skip(\"slow\") }\n"},

	{"os.Exit", RuleExit, "head/x.go", "package head\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n"},
	{"log.Fatalf", RuleExit, "head/x.go", "package head\n\nimport \"log\"\n\nfunc f() { log.Fatalf(\"x\") }\n"},
	{"log.Panic", RuleExit, "cmd/internal/api/x.go", "package api\n\nimport l \"log\"\n\nfunc f() { l.Panic(1) }\n"},
	{"panic", RuleExit, "head/x.go", "package head\n\nfunc f() { panic(1) }\n"},

	{"a long file", RuleFileLines, "head/x.go", "package head\n" + strings.Repeat(oneLine, MaxLines)},
}

func TestEveryRuleCanFail(t *testing.T) {
	shown := make(map[string]bool)
	for _, v := range violations {
		shown[v.rule] = true
		t.Run(v.name, func(t *testing.T) {
			got := rulesOf(t, tree(map[string]string{v.path: v.text}))
			if !slices.Equal(got, []string{v.rule}) {
				t.Errorf("%s broke %q, want only %s", v.path, got, v.rule)
			}
		})
	}
	for _, rule := range []string{RuleUnknown, RuleImport, RuleDriver, RuleStdlib, RuleTopLevel, RuleReplace,
		RuleModule, RuleName, RuleSleep, RuleSkip, RuleExit, RuleFileLines} {
		if !shown[rule] {
			t.Errorf("no violation shows that %s can fail", rule)
		}
	}
}

// TestWhatIsAllowed keeps the rules from crying wolf.
func TestWhatIsAllowed(t *testing.T) {
	for name, over := range map[string]map[string]string{
		"a good house": nil,
		"what is not in the repository": {
			"bin/daybook": "", "data/days/x.db": "", "data/x.go": "package broken", "cpu.prof": "", ".env": "",
		},
		"what the go tool does not see": {
			"head/testdata/x.go": "package broken{", ".cache/x.go": "not Go", "head/_old/x.go": "not Go", "head/.x.go": "not Go",
		},
		"the driver behind its door": {
			"blocks/x.go":            "package blocks\n\nimport _ \"github.com/mattn/go-sqlite3\"\n",
			"blocks/internal/y/x.go": "package y\n\nimport (\n\t_ \"daybook/tsdb/task\"\n\t_ \"github.com/mattn/go-sqlite3\"\n)\n",
			"blocks/y.go":            "package blocks\n\nimport _ \"daybook/blocks/internal/y\"\n",
		},
		"names that only begin like a restricted one": {
			"head/x.go": "package head\n\nimport _ \"github.com/oklog/runner\"\n",
		},
		"end-to-end tests may import anything": {
			"cmd/daybook/e2e_test.go": "package main\n\nimport (\n\t_ \"daybook/head\"\n\t_ \"github.com/mattn/go-sqlite3\"\n)\n",
		},
		"external tests import their package": {
			"head/wal/x_test.go":                 "package wal_test\n\nimport _ \"daybook/head/wal\"\n",
			"cmd/internal/ingest/amqp/x_test.go": "package amqp_test\n\nimport _ \"daybook/cmd/internal/ingest/amqp\"\n",
		},
		"locals that are called like a package": {
			"head/x_test.go": "package head\n\nfunc f(time clock) { time.Sleep(1) }\n",
			"head/x.go":      "package head\n\nfunc f(os system, panic func(int)) { os.Exit(1); panic(1) }\n",
		},
		"skips with a reason, and other things that are called Skip": {
			"head/x_test.go": inTest + "t.Skip(\"needs root: \" + why); t.Skipf(\"sqlite3 is missing: %v\", err); s.Skip() }\n",
		},
		"tests and main may end the process": {
			"head/x_test.go":   "package head\n\nimport \"os\"\n\nfunc f() { os.Exit(1); panic(1) }\n",
			"cmd/daybook/x.go": "package main\n\nimport \"log\"\n\nfunc f() { log.Fatal(1); panic(1) }\n",
		},
		"long tests and long generated files": {
			"head/x_test.go": "package head\n" + strings.Repeat(oneLine, 2*MaxLines),
			"head/x.go":      "// Code generated by x. DO NOT EDIT.\n\npackage head\n" + strings.Repeat(oneLine, MaxLines),
			"head/y.go":      "package head\n" + strings.Repeat(oneLine, MaxLines-1),
		},
		"the word replace in go.mod": {
			"go.mod": "module daybook // replace nothing\n\nrequire replace.example.com/x v1.0.0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rulesOf(t, tree(over)); len(got) > 0 {
				t.Errorf("broke %q", got)
			}
		})
	}
}

// TestImportTable walks all pairs of packages. The table is written out again, as
// the design has it, so that a change of the one needs a look at the other.
func TestImportTable(t *testing.T) {
	design := map[string]string{
		"tsdb/task":                 "",
		"tsdb/rollup":               "tsdb/task",
		"head/wal":                  "",
		"head":                      "head/wal tsdb/task tsdb/rollup",
		"blocks":                    "tsdb/task tsdb/rollup",
		"compact":                   "blocks tsdb/task tsdb/rollup",
		"tsdb":                      "tsdb/task tsdb/rollup head/wal head blocks compact",
		"cmd/internal/api":          "tsdb tsdb/task tsdb/rollup",
		"cmd/internal/celery":       "tsdb/task",
		"cmd/internal/ingest/redis": "cmd/internal/celery tsdb/task",
		"cmd/internal/ingest/amqp":  "cmd/internal/celery tsdb/task",
		"cmd/internal/daemon": "tsdb/task tsdb/rollup head/wal head blocks compact tsdb cmd/internal/api " +
			"cmd/internal/celery cmd/internal/ingest/redis cmd/internal/ingest/amqp cmd/daybook",
		"cmd/daybook": "cmd/internal/daemon tsdb tsdb/task blocks",
	}
	for from, allowed := range design {
		for to := range design {
			if from == to {
				continue
			}
			text := "package x\n\nimport _ \"daybook/" + to + "\"\n"
			got := len(rulesOf(t, tree(map[string]string{from + "/x.go": text}))) == 0
			if want := slices.Contains(strings.Fields(allowed), to); got != want {
				t.Errorf("%s imports %s: allowed is %v, want %v", from, to, got, want)
			}
		}
	}
}

func TestBrokenSourceIsAnError(t *testing.T) {
	_, err := Check(tree(map[string]string{"head/x.go": "package head\n\nfunc {\n"}))
	if err == nil || !strings.Contains(err.Error(), "head/x.go") {
		t.Errorf("got %v, want an error that names head/x.go", err)
	}
}
