package tsdb

import (
	"testing"
	"time"
)

// Nobody waits for a turn unless a question is being answered, and then not for
// ever.
func TestCourtesy(t *testing.T) {
	t.Parallel()
	c := NewCourtesy(3) // two turns
	c.patience = time.Millisecond
	var turns [3]Turn
	for i := range turns {
		turns[i] = c.Turn()
	}
	held := func() (n int) {
		for i := range turns {
			if turns[i].Held() {
				n++
			}
		}
		if n != len(c.turns) {
			t.Errorf("%d turns are held, %d are taken", n, len(c.turns))
		}
		return n
	}
	takeAll := func() int {
		for i := range turns {
			turns[i].Take()
		}
		return held()
	}
	restAll := func() {
		for i := range turns {
			turns[i].Rest()
			turns[i].Rest() // again does nothing
		}
		if held() != 0 {
			t.Error("a turn is held by nobody")
		}
	}
	if n := takeAll(); n != 0 {
		t.Errorf("%d turns are taken and nobody asks", n)
	}
	first, second := c.Ask(), c.Ask()
	if n := takeAll(); n != 2 {
		t.Errorf("%d turns are taken", n)
	}
	if takeAll() != 2 {
		t.Error("a turn is taken twice")
	}
	restAll()
	first()
	if n := takeAll(); n != 2 {
		t.Errorf("%d turns are taken with one question left", n)
	}
	second()
	restAll()
	if n := takeAll(); n != 0 {
		t.Errorf("%d turns are taken after the last answer", n)
	}
	for _, cores := range []int{0, 1, 2} {
		if n := cap(NewCourtesy(cores).turns); n != 1 {
			t.Errorf("%d cores: %d turns", cores, n)
		}
	}
	defer c.Ask()()
	takeAll()
	c.patience = time.Hour
	spent := c.Turn()
	spent.waited = courtesyWaits
	if spent.Take(); spent.Held() {
		t.Error("there is a third turn")
	}
	restAll()
	if spent.Take(); !spent.Held() {
		t.Error("a free turn is not taken")
	}
	spent.Rest()

	var none *Courtesy
	none.Ask()()
	turn := none.Turn()
	turn.Take()
	turn.Rest()
	if turn.Held() || none.Taken() != 0 {
		t.Error("a turn of nothing is held")
	}
}
