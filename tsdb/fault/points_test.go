package fault

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// sources are the lines of the storage that name points.
func sources(t *testing.T) (named []string) {
	t.Helper()
	for _, dir := range []string{"blocks", "compact", "head", "tsdb"} {
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range regexp.MustCompile(`(?m)^.*(fault\.Point|sealPoint|at)\(.*$`).FindAllString(string(text), -1) {
				for _, m := range regexp.MustCompile(`"([a-z]{3,}\.[a-z-]+)"`).FindAllStringSubmatch(line, -1) {
					named = append(named, m[1])
				}
			}
		}
	}
	return named
}

func TestPointsAreReal(t *testing.T) {
	named, want := sources(t), slices.Clone(Points)
	slices.Sort(named)
	slices.Sort(want)
	if named = slices.Compact(named); !slices.Equal(named, want) {
		t.Errorf("the sources name\n%q\nPoints has\n%q", named, want)
	}
}

// docs/reliability.md lists the points, all of them and no others. That each is
// reached is what `make crash` finds out.
func TestPointsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z-]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	if !slices.Equal(listed, Points) {
		t.Errorf("docs/reliability.md lists\n%q\nthe code has\n%q", listed, Points)
	}
	seen := map[string]bool{}
	for _, p := range Points {
		if seen[p] {
			t.Errorf("%s is there twice", p)
		}
		seen[p] = true
	}
}
