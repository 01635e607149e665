package house

import (
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
)

// mainPackage is the one that may end the process.
const mainPackage = "cmd/daybook"

var emptyNames = map[string]bool{"util": true, "utils": true, "common": true, "helpers": true}

// reasons are the words by which a skip says what it misses.
var reasons = []string{"needs", "requires", "missing", "without", "not installed"}

func checkSource(f *file) []Finding {
	var found []Finding
	name := strings.TrimSuffix(f.ast.Name.Name, "_test")
	if emptyNames[name] || emptyNames[path.Base(f.dir)] {
		found = append(found, f.finding(f.ast.Name.Pos(), RuleName,
			"a package is named after what it is, not %q", name))
	}
	if f.size > MaxLines && !f.isTest() && !ast.IsGenerated(f.ast) {
		found = append(found, f.finding(f.ast.Package, RuleFileLines,
			"%d lines, more than %d", f.size, MaxLines))
	}
	imported := importNames(f.ast)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			found = append(found, f.checkSelector(n, imported)...)
		case *ast.CallExpr:
			found = append(found, f.checkCall(n)...)
		}
		return true
	})
	return found
}

// importNames maps the file's names of imported packages to their paths.
func importNames(f *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range f.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = target
	}
	return names
}

// checkSelector looks at every mention of a package's function, called or not.
func (f *file) checkSelector(sel *ast.SelectorExpr, imported map[string]string) []Finding {
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Obj != nil { // a local of that name
		return nil
	}
	function := imported[x.Name] + "." + sel.Sel.Name
	switch {
	case f.isTest() && function == "time.Sleep":
		return []Finding{f.finding(sel.Pos(), RuleSleep,
			"a test waits for what it waits for (a channel, a deadline with polling), it does not sleep")}
	case f.isTest() || f.dir == mainPackage:
		return nil
	case function == "os.Exit", function == "syscall.Exit",
		strings.HasPrefix(function, "log.Fatal"), strings.HasPrefix(function, "log.Panic"):
		return []Finding{f.finding(sel.Pos(), RuleExit, "%s below main: return an error", function)}
	}
	return nil
}

func (f *file) checkCall(call *ast.CallExpr) []Finding {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		if fun.Name == "panic" && fun.Obj == nil && !f.isTest() && f.dir != mainPackage {
			return []Finding{f.finding(call.Pos(), RuleExit, "panic below main: return an error")}
		}
	case *ast.SelectorExpr:
		name := fun.Sel.Name
		skips := name == "Skip" || name == "Skipf" || name == "SkipNow"
		if skips && isTesting(fun.X) && !givesReason(call) {
			return []Finding{f.finding(call.Pos(), RuleSkip,
				`a skip says in a literal what it misses, such as t.Skip("needs sqlite3 on PATH")`)}
		}
	}
	return nil
}

// isTesting reports whether x was declared as a parameter of testing's types.
func isTesting(x ast.Expr) bool {
	ident, ok := x.(*ast.Ident)
	if !ok || ident.Obj == nil {
		return false
	}
	field, ok := ident.Obj.Decl.(*ast.Field)
	if !ok {
		return false
	}
	typ := field.Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	sel, ok := typ.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "testing"
}

func givesReason(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	arg := call.Args[0]
	for {
		sum, ok := arg.(*ast.BinaryExpr)
		if !ok {
			break
		}
		arg = sum.X
	}
	text, ok := arg.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return false
	}
	for _, word := range reasons {
		if strings.Contains(text.Value, word) {
			return true
		}
	}
	return false
}
