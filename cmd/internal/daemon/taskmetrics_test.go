package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTaskMetrics wants the busiest tasks by name, the rest as one, and none of
// it unless it was asked for.
func TestTaskMetrics(t *testing.T) {
	for _, most := range []int{0, 2} {
		c := config(t)
		c.Web.TaskMetrics = most
		d := start(t, c)
		eventually(t, "the daemon does not get ready", func() bool { return status(t, d, "/-/ready") == 200 })
		var body strings.Builder
		at := time.Now().Unix()
		for name, n := range map[string]int{"busy": 5, "less": 3, "rare": 1, "other": 4} {
			for i := range n {
				fmt.Fprintf(&body, `{"task_id":"%s-%d","task_name":"%s","runtime_ms":1000,"finished_at":%d}`+"\n", name, i, name, at)
			}
		}
		resp, err := http.Post("http://"+d.addr+"/api/v1/invocations", "", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		page := func() string {
			resp, err := http.Get("http://" + d.addr + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if most == 0 {
			if text := page(); strings.Contains(text, "daybook_task_") || strings.Contains(text, "task_name=") {
				t.Errorf("%s", text)
			}
			continue
		}
		eventually(t, "tasks are not shown", func() bool { return strings.Contains(page(), "daybook_task_") })
		text := page()
		for _, want := range []string{
			`daybook_task_invocations{state="success",task_name="busy"} 5`, `daybook_task_invocations{state="success",task_name="less"} 3`,
			`daybook_task_invocations{state="success",task_name="other"} 5`, `daybook_task_active{task_name="busy"} 0`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("%s is missing:\n%s", want, text)
			}
		}
		if strings.Contains(text, "rare") {
			t.Error("a task beyond the cap is shown")
		}
	}
}
