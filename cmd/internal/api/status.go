package api

import (
	"math"
	"net/http"
	"strconv"

	"daybook/cmd/internal/render"
	"daybook/tsdb"
	"daybook/tsdb/task"
)

func (a *API) healthz(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	h := a.Store.Health()
	code := http.StatusOK
	if !h.CanStore && !a.ReadOnly {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(retryDisk))
	}
	var brokers []Broker
	if a.Brokers != nil {
		brokers = a.Brokers()
	}
	for _, b := range brokers {
		h.Reasons = append(h.Reasons, b.Reasons...)
	}
	a.reply(w, r, code, a.appendHealth(nil, &h, brokers, code == http.StatusOK))
	return nil
}

func (a *API) appendHealth(dst []byte, h *tsdb.Health, brokers []Broker, stores bool) []byte {
	status := "ok"
	if len(h.Reasons) > 0 || !stores {
		status = "degraded"
	}
	count := func(name string, n int64) {
		dst = strconv.AppendInt(append(append(append(dst, `,"`...), name...), `":`...), n, 10)
	}
	dst = task.AppendJSONString(append(dst, `{"status":`...), status)
	dst = appendTexts(append(dst, `,"reasons":`...), h.Reasons)
	count("head_records", h.HeadRecords)
	count("head_bytes", h.HeadBytes)
	count("rows", h.Rows)
	dst = strconv.AppendBool(append(dst, `,"rows_exact":`...), h.RowsExact)
	dst = render.AppendTime(append(dst, `,"oldest":`...), h.Oldest)
	count("dropped_total", h.DroppedTotal)
	count("rejected_total", h.RejectedTotal+a.rejected.Load())
	count("wal_bytes", h.WALBytes)
	dst = appendDecimal(append(dst, `,"disk_usage_pct":`...), h.DiskUsagePct)
	count("disk_free_bytes", h.DiskFreeBytes)
	dst = appendBrokers(append(dst, `,"brokers":`...), brokers)
	return append(dst, "}\n"...)
}

func appendBrokers(dst []byte, brokers []Broker) []byte {
	dst = append(dst, '[')
	for i, b := range brokers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = task.AppendJSONString(append(dst, `{"url":`...), b.URL)
		dst = strconv.AppendBool(append(dst, `,"connected":`...), b.Connected)
		dst = render.AppendTime(append(dst, `,"last_event_at":`...), b.LastEventAt)
		dst = append(dst, `,"worker_groups":[`...)
		for j, g := range b.Groups {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = task.AppendJSONString(append(dst, `{"name":`...), g.Name)
			dst = strconv.AppendInt(append(dst, `,"workers":`...), int64(g.Workers), 10)
			dst = render.AppendTime(append(dst, `,"last_event_at":`...), g.LastEventAt)
			dst = strconv.AppendInt(append(dst, `,"lost":`...), g.Lost, 10)
			dst = append(dst, '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, ']')
}

// appendDecimal prints a number with two decimals, null if it is none.
func appendDecimal(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, math.Round(f*100)/100, 'f', -1, 64)
}

func (a *API) healthy(w http.ResponseWriter, r *http.Request, _ string) error {
	a.reply(w, r, http.StatusOK, []byte(`{"status":"ok"}`+"\n"))
	return nil
}

func (a *API) ready(w http.ResponseWriter, r *http.Request, _ string) error {
	p := a.Store.Ready()
	if p.Ready {
		a.reply(w, r, http.StatusOK, []byte(`{"status":"ready"}`+"\n"))
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(retrySoon))
	body := task.AppendJSONString([]byte(`{"error":`), tsdb.ErrNotReady.Error())
	body = strconv.AppendInt(append(body, `,"replayed_bytes":`...), p.Done, 10)
	body = strconv.AppendInt(append(body, `,"total_bytes":`...), p.Total, 10)
	a.reply(w, r, http.StatusServiceUnavailable, append(body, "}\n"...))
	return nil
}

func (a *API) flags(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, append(appendSettings([]byte(`{"flags":`), a.Flags), "}\n"...))
	return nil
}

func (a *API) buildinfo(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := parameters(r, nil); err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, append(appendSettings(nil, a.Build), '\n'))
	return nil
}

// appendSettings prints one object of texts.
func appendSettings(dst []byte, list []Setting) []byte {
	dst = append(dst, '{')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(task.AppendJSONString(dst, s.Name), ':')
		dst = task.AppendJSONString(dst, s.Value)
	}
	return append(dst, '}')
}
