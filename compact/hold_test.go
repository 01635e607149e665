package compact

import (
	"testing"
	"testing/synctest"
	"time"
)

// Readers that come one after the other do not keep rows in the head for ever.
func TestCutsAreNotRefusedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c Compactor
		m := &c.moves
		refused := func() (n int) {
			for began := time.Now(); time.Since(began) < 2*maxRefused; n++ {
				release, err := c.HoldMoves(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m.begin(false) {
					m.end()
					release()
					return n
				}
				release()
				<-time.After(time.Second)
			}
			return n
		}
		for range 2 {
			if n := refused(); n != int(maxRefused/time.Second) {
				t.Errorf("refused %d times in as many seconds", n)
			}
		}
	})
}
