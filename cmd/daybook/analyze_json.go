package main

import (
	"encoding/json"
	"io"

	"daybook/blocks"
	"daybook/cmd/internal/render"
)

// analysisJSON is what `daybook analyze --json` prints.
type analysisJSON struct {
	Rows         int64            `json:"rows"`
	Bytes        int64            `json:"bytes"`
	RowBytes     int64            `json:"row_bytes"`
	DetailBytes  int64            `json:"detail_bytes"`
	DetailStored int64            `json:"detail_compressed_bytes"`
	Files        []fileJSON       `json:"files"`
	Tasks        []useJSON        `json:"tasks"`
	Workers      []useJSON        `json:"workers"`
	Queues       []useJSON        `json:"queues"`
	Exceptions   []useJSON        `json:"exceptions"`
	Fields       map[string]int64 `json:"detail_fields"`
	Largest      []largeJSON      `json:"largest"`
	Note         string           `json:"note"`
}

type fileJSON struct {
	Path     string     `json:"path"`
	Kind     string     `json:"kind"`
	Day      string     `json:"day"`
	Rows     int64      `json:"rows"`
	Bytes    int64      `json:"bytes"`
	WALBytes int64      `json:"wal_bytes"`
	Parts    []partJSON `json:"parts"`
}

type partJSON struct {
	Name      string  `json:"name"`
	Entries   int64   `json:"entries"`
	Bytes     int64   `json:"bytes"`
	Share     float64 `json:"share"`
	Estimated bool    `json:"estimated"`
}

type useJSON struct {
	Name         string  `json:"name"`
	Rows         int64   `json:"rows"`
	RowBytes     int64   `json:"row_bytes"`
	DetailBytes  int64   `json:"detail_bytes"`
	DetailStored int64   `json:"detail_compressed_bytes"`
	Share        float64 `json:"share"`
}

type largeJSON struct {
	TaskID      string           `json:"task_id"`
	TaskName    string           `json:"task_name"`
	State       string           `json:"state"`
	At          json.Number      `json:"row_time"`
	RowBytes    int64            `json:"row_bytes"`
	DetailBytes int64            `json:"detail_bytes"`
	Fields      map[string]int64 `json:"detail_fields"`
}

func printAnalysisJSON(w io.Writer, a *blocks.Analysis) error {
	out := analysisJSON{Rows: a.All.Rows, RowBytes: a.All.RowBytes, DetailBytes: a.All.DetailBytes, DetailStored: a.All.DetailStored,
		Files: []fileJSON{}, Largest: []largeJSON{}, Fields: fieldsJSON(a.Fields[:]), Note: analysisNote}
	for i := range a.Files {
		f := &a.Files[i]
		out.Bytes += f.Bytes + f.WALBytes
		j := fileJSON{f.Path, f.Kind, f.Day.String(), f.Rows, f.Bytes, f.WALBytes, []partJSON{}}
		total := partsBytes(f)
		for _, p := range f.Parts {
			j.Parts = append(j.Parts, partJSON{p.Name, p.Entries, p.Bytes, ratio(p.Bytes, total), p.Estimated})
		}
		out.Files = append(out.Files, j)
	}
	for i, to := range []*[]useJSON{&out.Tasks, &out.Workers, &out.Queues, &out.Exceptions} {
		*to = []useJSON{}
		for _, u := range a.By[i] {
			*to = append(*to, useJSON{u.Name, u.Rows, u.RowBytes, u.DetailBytes, u.DetailStored, ratio(u.Stored(), a.All.Stored())})
		}
	}
	for i := range a.Largest {
		r := &a.Largest[i]
		out.Largest = append(out.Largest, largeJSON{r.TaskID, r.TaskName, r.State.String(), json.Number(render.AppendTime(nil, r.At)), r.RowBytes, r.DetailBytes, fieldsJSON(r.Fields[:])})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func fieldsJSON(bytes []int64) map[string]int64 {
	out := map[string]int64{}
	for i, n := range bytes {
		out[blocks.DetailFields[i]] = n
	}
	return out
}

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
