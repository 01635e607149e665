package brokers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// python is Debian's, which is the one that sees python3-celery.
const python = "/usr/bin/python3"

// needs are the Debian packages and how to see that they are there.
var needs = map[string]func() error{
	"redis-server":    func() error { return exists(redisServer) },
	"rabbitmq-server": func() error { return exists(rabbitServer) },
	"python3-celery":  func() error { return imports("celery") },
	"python3-redis":   func() error { return imports("redis") },
}

// imports reports whether Python has a module. Isolated (-I), as a directory of
// the name where the test runs, such as redis, would do for one.
func imports(module string) error { return exec.Command(python, "-I", "-c", "import "+module).Run() }

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}

var needOnce = sync.OnceValue(needAll)

// Need skips the test if the brokers are not there and cannot be installed. In
// CI (DAYBOOK_CI=1) that is a failure.
func Need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs more time than -short allows")
	}
	err := needOnce()
	switch {
	case err == nil:
	case os.Getenv("DAYBOOK_CI") != "":
		t.Fatal(err)
	default:
		t.Skipf("needs %v", err)
	}
}

func missing() []string {
	var names []string
	for name, have := range needs {
		if have() != nil {
			names = append(names, name)
		}
	}
	return names
}

// needAll installs what is missing where that is possible: on Debian, as root.
func needAll() error {
	names := missing()
	if len(names) == 0 {
		return nil
	}
	list := strings.Join(names, " ")
	system, err := os.Open("/etc/debian_version")
	if err != nil || os.Getuid() != 0 {
		return fmt.Errorf("%s (on Debian, as root: apt-get install %s)", list, list)
	}
	defer system.Close()
	// Other packages' tests are here too; apt-get does not wait for itself.
	if err := syscall.Flock(int(system.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if names = missing(); len(names) == 0 {
		return nil
	}
	install := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, names...)
	if aptGet(install...) == nil {
		return nil
	}
	return errors.Join(aptGet("update", "-qq"), aptGet(install...))
}

func aptGet(args ...string) error {
	cmd := exec.Command("apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
	// Run level 1 keeps the packages from starting services.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, last(out.String(), 500))
	}
	return nil
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }
