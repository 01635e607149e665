package text

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestWords(t *testing.T) {
	for s, want := range map[string]string{
		"(1234, 'ORD-00512345')":  "1234 ord 00512345",
		"{'team_id': 42}":         "team id 42",
		"user123@example.com":     "user123 example com",
		"shop.orders.charge":      "shop orders charge",
		"1_000.5e3":               "1 000 5e3",
		"Größe ΣΊΣΥΦΟΣ straẞe":    "größe σίσυφοσ straße",
		"東京 2026年":                "東 京 2026 年",
		"タワー":                     "タ ワ ー",
		"e\u0301te\u0301 \u0301":  "e\u0301te\u0301 \u0301",
		"a\x00b\xffc\ufffdd":      "a b c d",
		"한국어 עברית हिन्दी":        "한국어 עברית हिन्दी",
		"🎉 don't":                 "don t",
		"\u212aelvin \u017fecond": "kelvin second",
		"x²":                      "x²",
		"":                        "",
		" -- ":                    "",
	} {
		words := wordsOf(s)
		for i, w := range strings.Fields(want) {
			if i >= len(words) || words[i] != foldText(w) {
				t.Errorf("%q: %q, want %s", s, words, want)
				break
			}
		}
		if len(words) != len(strings.Fields(want)) || !slices.Equal(words, naiveWords(s)) {
			t.Errorf("%q: %q, want %s, naively %q", s, words, want, naiveWords(s))
		}
	}
}

// TestHashes says that the fast way through a text hashes exactly its words.
func TestHashes(t *testing.T) {
	check := func(s string) {
		t.Helper()
		var want []uint64
		for _, w := range wordsOf(s) {
			want = append(want, hashWord(w))
		}
		if got := appendHashes(nil, s); !slices.Equal(got, want) {
			t.Fatalf("%q: %x, want %x of %q", s, got, want, wordsOf(s))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		check(randomText(r, 20))
	}
	for n := range 40 {
		check(strings.Repeat("a", n))
		check(strings.Repeat("A", n) + "é-1")
	}
	check(strings.Repeat("long", 1<<16))
}

// TestHashPinned pins what is part of the page format.
func TestHashPinned(t *testing.T) {
	for w, want := range map[string]uint64{"a": 0x8dd64982ce861e80, "00512345": 0xfd4de180d43b0a00,
		"größe": 0xf1a7be645990e680, "connectionerror": 0x42256854181c3980} {
		if got := hashWord(w); got != want {
			t.Errorf("%s: %#x, want %#x", w, got, want)
		}
	}
}

// TestFold says that runes that are equal but for case have one form, and that
// it is its own.
func TestFold(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		f := foldRune(r)
		if foldRune(f) != f || foldRune(unicode.SimpleFold(r)) != f {
			t.Fatalf("%U: %U", r, f)
		}
		if utf8.ValidRune(r) && classOf(f) != classOf(r) {
			t.Fatalf("%U is of another class than %U", f, r)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for q, part := range map[string]string{
		"":                        "no word",
		" \t":                     "no word",
		"-- ' *":                  "no word",
		`""`:                      "no word",
		"//":                      "no word",
		`"half`:                   "closing",
		`x "half a phrase`:        "closing",
		`"escaped\"`:              "closing",
		strings.Repeat("a", 1025): "at most 1024",
		strings.Repeat("a ", 17):  "16 terms",
		strings.Repeat("a-", 65):  "64 words",
	} {
		_, err := Parse(q)
		if err == nil || !strings.Contains(err.Error(), part) || len(err.Error()) > 200 {
			t.Errorf("%q: %v, want one about %s", q, err, part)
		}
	}
	if _, err := Parse(`"`); !errors.Is(err, ErrUnbalanced) {
		t.Error(err)
	}
	if _, err := Parse("'"); !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
}

func TestPlan(t *testing.T) {
	for q, want := range map[string]struct {
		words []string
		ids   int
	}{
		"charge ORD-00512345": {[]string{"00512345", "charge", "ord"}, 0},
		"ORD-005*":            {[]string{"ord"}, 0},
		"abc*":                {nil, 0},
		"97ab73a3-0b1c*":      {nil, 0},
		"/anything at all/":   {nil, 0},
		"a A a":               {[]string{"a"}, 0},
		`"could not"* /x/`:    {[]string{"could"}, 0},
		someID:                {wordsOf(someID), 3},
		"(" + strings.ReplaceAll(strings.ToUpper(someID), "-", "") + ")": {[]string{"97ab73a30b1c4d2e8f30abcdef012345"}, 3},
	} {
		p, err := Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		var hashes []uint64
		for _, w := range want.words {
			hashes = append(hashes, hashWord(w))
		}
		got := slices.Clone(p.Words())
		if slices.Sort(got); !slices.Equal(got, sorted(hashes)) || len(p.TaskIDs()) != want.ids {
			t.Errorf("%s: %x, %q", q, p.Words(), p.TaskIDs())
		}
	}
	p, _ := Parse("ORD-00512345")
	if p.Words()[0] != hashWord("00512345") {
		t.Error("the longer word does not come first")
	}
}

func sorted(h []uint64) []uint64 { slices.Sort(h); return h }

func FuzzParse(f *testing.F) {
	for _, s := range []string{`a "b c" d* /e f/`, `"`, `/\//`, "東京*", someID + "*", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if (q == nil) == (err == nil) {
			t.Fatal("neither or both")
		}
		if q != nil && (len(q.terms) == 0 || len(q.terms) > MaxTerms || len(q.words) > MaxWords) {
			t.Fatal("out of bounds")
		}
	})
}
