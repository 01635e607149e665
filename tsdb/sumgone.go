package tsdb

import "daybook/tsdb/rollup"

// subtract takes what is gone out of what was added.
func (s *summation) subtract() (ok bool, err error) {
	for k, r := range s.gone.All() {
		if takeFrom(s.added.Get(k.Name, k.Bucket), r) || takeFrom(s.added.Get(rollup.Other, k.Bucket), r) || takeFrom(s.added.Rest(), r) {
			continue
		}
		// It does not go if files and head were not of one moment after all, or
		// for good if names beyond the bound were folded differently in two files.
		// What should have gone is counted twice then; better than by halves.
		if s.unsure() {
			return false, nil
		}
	}
	if rest := s.gone.Rest(); !rest.Empty() && !takeFrom(s.added.Rest(), rest) && s.unsure() {
		return false, nil
	}
	return true, nil
}

// takeFrom takes what is gone out of one rollup, all or nothing.
func takeFrom(sum, gone *rollup.Rollup) bool {
	if sum == nil {
		return false
	}
	before := sum.Clone()
	if sum.Subtract(gone) == nil {
		return true
	}
	*sum = before
	return false
}
