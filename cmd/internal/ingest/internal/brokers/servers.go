package brokers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	redisServer  = "/usr/bin/redis-server"
	rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	epmd         = "/usr/bin/epmd"
)

// Server is a broker that can be stopped and started again on its port.
type Server struct {
	*Process
	Port   int
	Dir    string
	launch func(t testing.TB) *Process
}

// Start starts it again, on the same port with the same data.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.Process = s.launch(t)
}

// Redis starts a Redis server; args are more of its command line.
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{Port: FreePort(t), Dir: scratch(t)}
	s.launch = func(t testing.TB) *Process {
		all := append([]string{"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "yes",
			"--appendfsync", "no", "--daemonize", "no", "--unixsocket", filepath.Join(s.Dir, "redis.sock"), "--logfile", ""}, args...)
		p := start(t, "redis-server", nil, nil, redisServer, all...)
		p.says(t, "Ready to accept connections", 20*time.Second)
		return p
	}
	s.Start(t)
	return s
}

// URL is its address for database 0.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", s.Port) }

// Rabbit starts a RabbitMQ server with the user guest.
func Rabbit(t testing.TB) *Server {
	t.Helper()
	s := &Server{Port: FreePort(t), Dir: scratch(t)}
	names, dist := FreePort(t), FreePort(t)
	// Its name service, which it would otherwise start and leave behind.
	start(t, "epmd", nil, nil, epmd, "-port", strconv.Itoa(names), "-address", "127.0.0.1")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("enabled_plugins", "[].\n")
	write("rabbitmq.conf", fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d\n", s.Port))
	env := []string{
		"HOME=" + s.Dir, "ERL_EPMD_PORT=" + strconv.Itoa(names), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_CONF_ENV_FILE=/dev/null", fmt.Sprintf("RABBITMQ_NODENAME=daybook%d@localhost", s.Port),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + strconv.Itoa(s.Port), "RABBITMQ_DIST_PORT=" + strconv.Itoa(dist),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(s.Dir, "mnesia"), "RABBITMQ_LOG_BASE=" + filepath.Join(s.Dir, "log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(s.Dir, "enabled_plugins"), "RABBITMQ_CONFIG_FILE=" + filepath.Join(s.Dir, "rabbitmq"),
		"RABBITMQ_PID_FILE=" + filepath.Join(s.Dir, "pid"), "RABBITMQ_IO_THREAD_POOL_SIZE=4",
	}
	s.launch = func(t testing.TB) *Process {
		p := start(t, "rabbitmq-server", env, nil, rabbitServer)
		p.says(t, "Server startup complete", 60*time.Second)
		return p
	}
	s.Start(t)
	return s
}

// AMQP is its address for the default virtual host.
func (s *Server) AMQP() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d//", s.Port) }
