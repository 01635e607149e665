package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"daybook/blocks"
	"daybook/cmd/internal/daemon"
)

// build is what `daybook --version` and /api/v1/status/buildinfo say.
func build() []daemon.Setting {
	limit := "unknown"
	if n, err := blocks.AttachLimit(); err == nil { // it is only told, and opening files will say more
		limit = strconv.Itoa(n)
	}
	return []daemon.Setting{
		{Name: "version", Value: version},
		{Name: "commit", Value: commit},
		{Name: "go_version", Value: runtime.Version()},
		{Name: "sqlite_version", Value: blocks.SQLiteVersion()},
		{Name: "sqlite_attach_limit", Value: limit},
	}
}

func versionText() string {
	var b strings.Builder
	b.WriteString("daybook")
	for _, s := range build() {
		fmt.Fprintf(&b, " %s=%s", s.Name, s.Value)
	}
	return b.String()
}
