package house

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// topLevel is everything that may lie beside the dot-files.
var topLevel = map[string]bool{
	"go.mod": true, "go.sum": true, "Makefile": true, "README.md": true, "LICENSE": true,
	"tsdb": true, "head": true, "blocks": true, "compact": true, "cmd": true, "docs": true,
}

func checkTop(tree fs.FS) ([]Finding, error) {
	ignored, err := ignoredNames(tree)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return nil, fmt.Errorf("list the top level: %w", err)
	}
	var found []Finding
	for _, entry := range entries {
		name := entry.Name()
		if !topLevel[name] && !strings.HasPrefix(name, ".") && !ignored(name) {
			found = append(found, Finding{name, RuleTopLevel, "does not belong at the top level"})
		}
	}
	mod, err := checkMod(tree)
	return append(found, mod...), err
}

// checkMod holds go.mod to its module path and to released dependencies.
func checkMod(tree fs.FS) ([]Finding, error) {
	src, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("read go.mod: %w", err)
	}
	var found []Finding
	module := ""
	for i, line := range strings.Split(string(src), "\n") {
		line, _, _ = strings.Cut(line, "//")
		word, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		switch {
		case word == "module":
			module = strings.Trim(strings.TrimSpace(rest), `"`)
		case word == "replace" || strings.HasPrefix(word, "replace("):
			found = append(found, Finding{fmt.Sprintf("go.mod:%d", i+1), RuleReplace, "go.mod replaces a module"})
		}
	}
	if module != Module {
		found = append(found, Finding{"go.mod", RuleModule, fmt.Sprintf("the module is %q, not %q", module, Module)})
	}
	return found, nil
}

// ignoredNames returns a function that knows which top-level names are kept out
// of the repository: bin and data, and what .gitignore says without a path.
func ignoredNames(tree fs.FS) (func(name string) bool, error) {
	patterns := []string{"bin", "data"}
	src, err := fs.ReadFile(tree, ".gitignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read .gitignore: %w", err)
	}
	for _, line := range strings.Split(string(src), "\n") {
		line = strings.Trim(strings.TrimSpace(line), "/")
		if line != "" && line[0] != '#' && line[0] != '!' && !strings.Contains(line, "/") {
			patterns = append(patterns, line)
		}
	}
	return func(name string) bool {
		if topLevel[name] {
			return false
		}
		for _, p := range patterns {
			if match, err := path.Match(p, name); err == nil && match {
				return true
			}
		}
		return false
	}, nil
}
