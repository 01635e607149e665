package blocks

// LastCut is the greatest cut id in the file, 0 if there is none.
func (s *Sealed) LastCut() uint64 { return s.file.cuts.last() }

// LastCut is the greatest cut id in the file, 0 if there is none.
func (p *Parked) LastCut() uint64 { return p.state.Load().cuts.last() }

// OpenLiveReadOnly is OpenLive for a process that is not the file's writer.
func OpenLiveReadOnly(path string) (*Live, error) { return OpenLive(path) }

// OpenParkedReadOnly is OpenParked for a process that is not the file's writer.
func OpenParkedReadOnly(path string) (*Parked, error) { return OpenParked(path) }
