package text

// wordSet is a set of hashes that is emptied often: open addressing, at most
// half full; 0 is a free place, and no hash is 0.
type wordSet struct {
	places []uint64
	used   int
}

const (
	firstPlaces = 1 << 11
	// keptPlaces bounds what a set keeps when it is emptied.
	keptPlaces = 1 << 16
)

// add reports whether the hash is new.
func (s *wordSet) add(hash uint64) bool {
	if 2*s.used >= len(s.places) {
		s.grow()
	}
	mask := len(s.places) - 1
	for i := int(hash>>7) & mask; ; i = (i + 1) & mask {
		switch s.places[i] {
		case hash:
			return false
		case 0:
			s.places[i] = hash
			s.used++
			return true
		}
	}
}

func (s *wordSet) grow() {
	old := s.places
	s.places = make([]uint64, max(2*len(old), firstPlaces))
	mask := len(s.places) - 1
	for _, h := range old {
		if h == 0 {
			continue
		}
		i := int(h>>7) & mask
		for s.places[i] != 0 {
			i = (i + 1) & mask
		}
		s.places[i] = h
	}
}

func (s *wordSet) reset() {
	if len(s.places) > keptPlaces {
		s.places = nil
	}
	clear(s.places)
	s.used = 0
}
