package blocks

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"daybook/tsdb/task"
)

// MaskSet is the set of ids whose sealed rows an overlay hides, as it was
// after one cut. It does not change.
type MaskSet struct {
	version uint64
	count   int64
	parts   [][]maskEntry // each sorted by hash; sizes fall by half at least
}

// maskEntry is one id, as packMask has it.
type maskEntry struct {
	hash uint64
	id   string
}

// packMask is an id's form in memory: 17 bytes for a UUID, and the text behind
// a byte that tells the two apart.
func packMask(dst []byte, id string) []byte {
	if b, ok := task.PackID(id); ok {
		return append(append(dst, 1), b[:]...)
	}
	return append(append(dst, 0), id...)
}

func unpackMask(id string) string {
	if id[0] == 1 {
		return task.UnpackID([]byte(id[1:]))
	}
	return id[1:]
}

// Len is the number of ids.
func (m *MaskSet) Len() int64 { return m.count }

// Version is the last cut that changed the set; 0 if none did. The live file
// has it in meta.mask_version, so that a read transaction can tell whether it
// sees the same set.
func (m *MaskSet) Version() uint64 { return m.version }

// Has reports whether the id, of hash task.HashID(id), is in the set.
func (m *MaskSet) Has(hash uint64, id string) bool {
	for _, part := range m.parts {
		for i, _ := searchMask(part, hash); i < len(part) && part[i].hash == hash; i++ {
			var b [1 + task.MaxID]byte
			if string(packMask(b[:0], id)) == part[i].id {
				return true
			}
		}
	}
	return false
}

// Each calls fn with every id until it returns false.
func (m *MaskSet) Each(fn func(id string) bool) {
	for _, part := range m.parts {
		for _, e := range part {
			if !fn(unpackMask(e.id)) {
				return
			}
		}
	}
}

func searchMask(part []maskEntry, hash uint64) (int, bool) {
	return slices.BinarySearchFunc(part, hash, func(e maskEntry, hash uint64) int { return cmp.Compare(e.hash, hash) })
}

// with returns the set with ids added by a cut, and those that are new in it.
func (m *MaskSet) with(cut uint64, ids []string) (*MaskSet, []string) {
	var part []maskEntry
	var fresh []string
	seen := map[string]bool{}
	for _, id := range ids {
		if h := task.HashID(id); !seen[id] && !m.Has(h, id) {
			seen[id] = true
			fresh = append(fresh, id)
			part = append(part, maskEntry{h, string(packMask(nil, id))})
		}
	}
	if len(part) == 0 {
		return m, nil
	}
	out := &MaskSet{version: cut, count: m.count + int64(len(part)), parts: slices.Clone(m.parts)}
	for n := len(out.parts); n > 0 && len(out.parts[n-1]) < 2*len(part); n-- {
		part = append(part, out.parts[n-1]...)
		out.parts = out.parts[:n-1]
	}
	slices.SortFunc(part, func(a, b maskEntry) int { return cmp.Compare(a.hash, b.hash) })
	out.parts = append(out.parts, part)
	return out, fresh
}

// loadMask reads the table mask.
func loadMask(ctx context.Context, c *conn) (*MaskSet, error) {
	version, err := metaInt(ctx, c, metaMaskVersion)
	if err != nil {
		return nil, err
	}
	m := &MaskSet{version: uint64(version)}
	var part []maskEntry
	err = c.each(ctx, 1, func(vals []driver.Value) error {
		id, err := scanID(vals[0])
		if err != nil || task.CheckID(id) != nil {
			return errRow
		}
		part = append(part, maskEntry{task.HashID(id), string(packMask(nil, id))})
		return nil
	}, "SELECT task_id FROM mask")
	if err != nil {
		return nil, fmt.Errorf("reading the mask: %w", err)
	}
	if len(part) > 0 {
		slices.SortFunc(part, func(a, b maskEntry) int { return cmp.Compare(a.hash, b.hash) })
		m.parts, m.count = [][]maskEntry{part}, int64(len(part))
	}
	return m, nil
}
