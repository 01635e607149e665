package daemon_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestQueryRecipes runs the recipes of docs/queries.md on runs of which something is
// not known, as of one that hangs: none may fail for it.
func TestQueryRecipes(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	d := start(t, config(t))
	eventually(t, "the daemon does not get ready", func() bool { return status(t, d, "/-/ready") == 200 })
	at := time.Now().Unix() - 3600
	body := fmt.Sprintf(`{"task_id":"hangs","task_name":"shop.charge","started_at":%[1]d,"args":"('ORD-00512345',)"}
{"task_id":"given-up","task_name":"shop.charge","updated_at":%[1]d,"state":"RETRY","given_up":true,"args":"('ORD-00512345',)"}
{"task_id":"nameless","state":"FAILURE","updated_at":%[1]d,"args":"('ORD-00512345',)"}
{"task_id":"failed","task_name":"shop.charge","state":"FAILURE","updated_at":%[1]d}
{"task_id":"order-42/mail","state":"FAILURE","updated_at":%[1]d,"root_id":"order-42","parent_id":"order-42"}
`, at)
	resp, err := http.Post("http://"+d.addr+"/api/v1/invocations", "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	ran := 0
	for _, m := range example.FindAllStringSubmatch(readDoc(t, "queries.md"), -1) {
		if !strings.Contains(m[1], "$U") && !strings.Contains(m[1], "curl") {
			continue
		}
		out, err := exec.Command("bash", "-euo", "pipefail", "-c", "U=http://"+d.addr+"\n"+m[1]).CombinedOutput()
		if err != nil {
			t.Errorf("%s%v\n%s", m[1], err, out)
		}
		for recipe, lines := range map[string][]string{
			"q=ORD-00512345": {"STARTED\tshop.charge\thangs", "RETRY\tshop.charge\tgiven-up", "FAILURE\t\tnameless"},
			"/workflows/":    {"broke at  order-42/mail: FAILURE", "order-42 not stored", "  order-42/mail FAILURE"},
		} {
			for _, line := range lines {
				if strings.Contains(m[1], recipe) && !strings.Contains(string(out), line) {
					t.Errorf("%slacks %q:\n%s", m[1], line, out)
				}
			}
		}
		ran++
	}
	if ran < 9 {
		t.Errorf("%d recipes ran", ran)
	}
}
