package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"daybook/cmd/internal/api"
	"daybook/cmd/internal/daemon"
	"daybook/tsdb"
)

const docs = "../../../docs/"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(docs + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// descs collects what is registered, also what has nothing to show yet.
type descs struct{ names map[string]string }

var fqName = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)

func (d descs) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc)
	go func() { c.Describe(ch); close(ch) }()
	for desc := range ch {
		m := fqName.FindStringSubmatch(desc.String())
		if m == nil {
			return fmt.Errorf("%s cannot be read", desc)
		}
		d.names[m[1]] = m[2]
	}
	return nil
}

func (d descs) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		_ = d.Register(c) // a name that is missing fails the test
	}
}

func (d descs) Unregister(prometheus.Collector) bool { return false }

// registered is every metric of Daybook's own, with its labels.
func registered(t *testing.T) map[string]string {
	t.Helper()
	d := descs{map[string]string{"daybook_build_info": "*"}}
	o := tsdb.DefaultOptions()
	o.Dir, o.Metrics = t.TempDir(), d
	db, err := tsdb.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	api.New(api.Config{Store: db, Metrics: d})
	d.MustRegister(daemon.NoBrokers(), daemon.NoTasks())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return d.names
}

// row is a row of the table in docs/metrics.md.
var row = regexp.MustCompile("(?m)^\\| `(daybook_\\w+)` \\| (counter|gauge|histogram) \\| (.*?) \\| .+ \\|$")

type documented struct{ kind, labels string }

func table(t *testing.T) map[string]documented {
	t.Helper()
	out := map[string]documented{}
	for _, m := range row.FindAllStringSubmatch(readDoc(t, "metrics.md"), -1) {
		out[m[1]] = documented{m[2], m[3]}
	}
	return out
}

// TestDocumented compares docs/metrics.md with what is registered, and with
// what /metrics of a running daemon shows.
func TestDocumented(t *testing.T) {
	table := table(t)
	names := registered(t)
	for name, labels := range names {
		row, ok := table[name]
		if !ok {
			t.Errorf("%s is not in docs/metrics.md", name)
			continue
		}
		var list []string
		for _, l := range strings.FieldsFunc(labels, func(r rune) bool { return r == ',' || r == ' ' }) {
			list = append(list, "`"+l+"`")
		}
		if got := strings.Join(list, ", "); got != row.labels && labels != "*" {
			t.Errorf("%s has the labels %s, docs/metrics.md says %s", name, got, row.labels)
		}
	}
	for name := range table {
		if _, ok := names[name]; !ok {
			t.Errorf("%s of docs/metrics.md does not exist", name)
		}
	}
	c := config(t)
	c.Brokers = []string{"redis://:secret@127.0.0.1:1/0", "redis://:other@127.0.0.1:1/0"}
	c.Build = []daemon.Setting{{Name: "version", Value: "1"}}
	d := start(t, c)
	eventually(t, "the daemon does not get ready", func() bool { return status(t, d, "/-/ready") == 200 })
	body := fmt.Sprintf(`{"task_id":"a","finished_at":%d}`+"\n", time.Now().Unix())
	resp, err := http.Post("http://"+d.addr+"/api/v1/invocations", "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	status(t, d, "/api/v1/invocations")
	shown := 0
	for name, f := range scrape(t, d) {
		if !strings.HasPrefix(name, "daybook_") {
			continue
		}
		shown++
		if want := strings.ToLower(f); table[name].kind != want {
			t.Errorf("%s is a %s, docs/metrics.md says %q", name, want, table[name].kind)
		}
	}
	if shown < len(table)*3/4 {
		t.Errorf("/metrics shows %d of %d metrics", shown, len(table))
	}
}

func status(t *testing.T, d *running, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + d.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// scrape asks as Prometheus does, compressed, and returns types by name.
func scrape(t *testing.T, d *running) map[string]string {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+d.addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if enc := resp.Header.Values("Content-Encoding"); resp.StatusCode != 200 || !slices.Equal(enc, []string{"gzip"}) {
		t.Fatalf("%d, encoded %q", resp.StatusCode, enc)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") || strings.Contains(string(text), "other@") {
		t.Error("/metrics shows a password")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, f := range families {
		out[name] = f.GetType().String()
	}
	return out
}

// TestMetricsEarly asks before the log is replayed, and of a directory that is
// served read-only.
func TestMetricsEarly(t *testing.T) {
	o := tsdb.DefaultOptions()
	reg := prometheus.NewRegistry()
	o.Dir, o.Metrics = t.TempDir(), reg
	db, err := tsdb.Open(o) // and not Run
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() == "daybook_ready" {
			found = f.GetMetric()[0].GetGauge().GetValue() == 0
		}
	}
	if !found {
		t.Error("daybook_ready is not 0 before the log is replayed")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c := config(t)
	c.ReadOnly = true
	makeEmptyData(t, c)
	shown := scrape(t, start(t, c))
	for _, name := range []string{"daybook_build_info", "daybook_queries_limit", "go_goroutines", "process_start_time_seconds"} {
		if shown[name] == "" {
			t.Errorf("read-only: %s is missing", name)
		}
	}
}

// ruleFile is what Prometheus reads as a rule file.
type ruleFile struct {
	Groups []struct {
		Name     string         `yaml:"name"`
		Interval model.Duration `yaml:"interval,omitempty"`
		Rules    []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         model.Duration    `yaml:"for,omitempty"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

var metricName = regexp.MustCompile(`\bdaybook_\w+`)

// TestAlerts reads docs/alerts.yml strictly: every metric in it exists, and
// every alert has its section in docs/operations.md.
func TestAlerts(t *testing.T) {
	var rules ruleFile
	if err := yaml.UnmarshalStrict([]byte(readDoc(t, "alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	names, handbook, seen := registered(t), readDoc(t, "operations.md"), map[string]bool{}
	for _, g := range rules.Groups {
		if g.Name == "" || len(g.Rules) == 0 {
			t.Errorf("group %q has no name or no rules", g.Name)
		}
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: wants a name of its own, a severity, a summary and a description", r.Alert)
			}
			seen[r.Alert] = true
			if !strings.Contains(handbook, "\n### "+r.Alert+"\n") {
				t.Errorf("%s has no section in docs/operations.md", r.Alert)
			}
			used := metricName.FindAllString(r.Expr, -1)
			for _, name := range used {
				base := name
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					base = strings.TrimSuffix(base, suffix)
				}
				if _, ok := names[base]; !ok {
					t.Errorf("%s uses %s, which does not exist", r.Alert, name)
				}
			}
			if len(used) == 0 && !strings.Contains(r.Expr, "up{") {
				t.Errorf("%s uses no metric: %s", r.Alert, r.Expr)
			}
			for _, pair := range []string{"()", "{}", "[]"} {
				if strings.Count(r.Expr, pair[:1]) != strings.Count(r.Expr, pair[1:]) {
					t.Errorf("%s: %s do not match: %s", r.Alert, pair, r.Expr)
				}
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Daybook\w+)$`).FindAllStringSubmatch(handbook, -1) {
		if !seen[m[1]] {
			t.Errorf("docs/operations.md explains %s, which is no alert", m[1])
		}
	}
}

// TestAlertsFire has Prometheus' own promtool evaluate the rules over made-up series,
// where it is installed (Debian: in the package prometheus).
func TestAlertsFire(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool")
	}
	for _, args := range [][]string{{"check", "rules", docs + "alerts.yml"}, {"test", "rules", "testdata/alerts.test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestFlagsInDocs wants every flag that the handbook and the examples mention
// to exist.
func TestFlagsInDocs(t *testing.T) {
	known := readDoc(t, "flags.md")
	for _, name := range []string{"operations.md", "metrics.md", "alerts.yml", "deploy/daybook.service", "deploy/kubernetes.yaml", "deploy/Dockerfile", "deploy/web.yml"} {
		text := readDoc(t, name)
		for _, flag := range regexp.MustCompile(`--(?:web|storage|head|wal|seal|ingest|retention|query|celery|log)\.[a-z.-]*[a-z]`).FindAllString(text, -1) {
			if !strings.Contains(known, "`"+flag+"`") {
				t.Errorf("%s mentions %s, which docs/flags.md does not know", name, flag)
			}
		}
		for _, env := range regexp.MustCompile(`\bDAYBOOK_[A-Z_]+`).FindAllString(text, -1) {
			if !strings.Contains(known, "`"+env+"`") {
				t.Errorf("%s mentions %s, which docs/flags.md does not know", name, env)
			}
		}
	}
}

// TestExamples reads the manifests as YAML, and runs with the example of a web
// config.
func TestExamples(t *testing.T) {
	for _, name := range []string{"deploy/kubernetes.yaml", "deploy/prometheus.yml", "deploy/web.yml"} {
		for i, part := range strings.Split(readDoc(t, name), "\n---\n") {
			var v map[string]any
			if err := yaml.UnmarshalStrict([]byte(part), &v); err != nil || len(v) == 0 {
				t.Errorf("%s, part %d: %v", name, i+1, err)
			}
		}
	}
	type mount struct{ Name string }
	type probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
	manifest := readDoc(t, "deploy/kubernetes.yaml")
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						LivenessProbe  probe   `yaml:"livenessProbe"`
						ReadinessProbe probe   `yaml:"readinessProbe"`
						VolumeMounts   []mount `yaml:"volumeMounts"`
					}
				}
			}
			VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
		}
	}
	if err := yaml.Unmarshal([]byte(manifest[strings.LastIndex(manifest, "\n---\n")+5:]), &set); err != nil {
		t.Fatal(err)
	}
	claims, pods := set.Spec.VolumeClaimTemplates, set.Spec.Template.Spec.Containers
	if len(claims) != 1 || len(pods) != 1 || !slices.ContainsFunc(pods[0].VolumeMounts, func(m mount) bool { return m.Name == claims[0].Metadata.Name }) {
		t.Errorf("the data is on no volume of its own: %+v", set)
	} else if live, ready := pods[0].LivenessProbe.HTTPGet, pods[0].ReadinessProbe.HTTPGet; live.Path != "/-/healthy" || ready.Path != "/-/ready" || live.Port != "http" || ready.Port != "http" {
		t.Errorf("probes: %+v %+v", live, ready)
	}
	c := config(t)
	c.Web.ConfigFile = docs + "deploy/web.yml"
	d := start(t, c)
	r, err := http.NewRequest("GET", "http://"+d.addr+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("prometheus", "change me")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || status(t, d, "/healthz") != http.StatusUnauthorized {
		t.Errorf("the password of the example does not work: %d", resp.StatusCode)
	}
}
