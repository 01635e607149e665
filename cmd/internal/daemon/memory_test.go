package daemon

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestCgroupLimit has the files of a container, of a service, and of none.
func TestCgroupLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		self  string
		want  int64
	}{
		"no cgroup":         {want: math.MaxInt64},
		"container":         {files: map[string]string{"memory.max": "1000000000\n"}, self: "0::/\n", want: 900000000},
		"no limit":          {files: map[string]string{"memory.max": "max\n"}, self: "0::/\n", want: math.MaxInt64},
		"service":           {files: map[string]string{"system.slice/daybook.service/memory.max": "1000"}, self: "1:name=systemd:/x\n0::/system.slice/daybook.service\n", want: 900},
		"the slice is less": {files: map[string]string{"system.slice/memory.max": "500", "system.slice/daybook.service/memory.max": "1000"}, self: "0::/system.slice/daybook.service\n", want: 450},
		"host path inside":  {files: map[string]string{"memory.max": "1000"}, self: "0::/kubepods/pod1/x\n", want: 900},
		"version 1":         {files: map[string]string{"memory/memory.limit_in_bytes": "1000"}, self: "5:memory:/x\n", want: 900},
		"version 1, a host": {files: map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712", "memory/x/memory.limit_in_bytes": "2000"}, self: "6:cpu,memory:/x\n0::/\n", want: 1800},
		"version 1, free":   {files: map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712"}, self: "5:memory:/x\n", want: math.MaxInt64},
		"nonsense":          {files: map[string]string{"memory.max": "-5", "a/memory.max": "much"}, self: "0::/a/../../a\n", want: math.MaxInt64},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		self := filepath.Join(t.TempDir(), "cgroup")
		if c.self != "" {
			if err := os.WriteFile(self, []byte(c.self), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := cgroupLimit(root, self); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
