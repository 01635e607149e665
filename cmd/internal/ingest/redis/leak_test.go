package redis_test

import (
	"os"
	"testing"

	"daybook/cmd/internal/ingest/internal/brokers"
)

// TestMain wants no goroutine and no connection to outlive the tests.
func TestMain(m *testing.M) { os.Exit(brokers.Main(m)) }
