package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/params"
	"daybook/tsdb"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// errFindings is returned by commands that did their work, reported what they
// found, and have nothing to add but the exit code.
var errFindings = errors.New("there are findings")

// unitsHelp says how flags are written.
const unitsHelp = "Durations are written 30s, 10m, 36h, 7d; sizes 32MiB, 1GiB (powers of 1024), 10GB (powers of 1000) or in bytes."

// command is one subcommand.
type command interface {
	register(cmd *kingpin.CmdClause)
	run() error
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	app, commands := newApp()
	if len(args) == 0 {
		app.UsageWriter(os.Stderr)
		app.Usage(nil) // kingpin would end with 0
		return exitUsage
	}
	name, err := app.Parse(switches(app.Model(), args))
	if err != nil {
		var number *strconv.NumError
		if errors.As(err, &number) {
			err = fmt.Errorf("%s%q is not a number that is possible here", whose(app, args, number.Num), params.Clip(number.Num))
		}
		return report(&tsdb.OptionsError{Err: fmt.Errorf("%w, try --help", err)})
	}
	return report(commands[name].run())
}

// whose names the flag, or the variable, that has a wrong value: what kingpin returns
// does not.
func whose(app *kingpin.Application, args []string, wrong string) string {
	parsed, err := app.ParseContext(switches(app.Model(), args))
	if err != nil {
		return ""
	}
	for _, element := range parsed.Elements {
		if flag, ok := element.Clause.(*kingpin.FlagClause); ok && element.Value != nil && *element.Value == wrong && flag.Model().Value.Set(wrong) != nil {
			return "--" + flag.Model().Name + ": "
		}
	}
	if parsed.SelectedCommand != nil {
		for _, flag := range parsed.SelectedCommand.Model().Flags {
			if flag.Envar != "" && os.Getenv(flag.Envar) == wrong && flag.Value.Set(wrong) != nil {
				return flag.Envar + ": "
			}
		}
	}
	return ""
}

// newApp declares the command line. Commands are listed in the order in which
// one meets them.
func newApp() (*kingpin.Application, map[string]command) {
	app := kingpin.New("daybook", "Daybook remembers what background tasks did: one SQLite file per UTC day.")
	app.DefaultEnvars()
	app.UsageWriter(os.Stdout)
	app.HelpFlag.NoEnvar()
	app.Flag("version", "Show the versions of daybook, Go and SQLite, and how many files it attaches.").NoEnvar().
		PreAction(func(*kingpin.ParseContext) error {
			fmt.Println(versionText())
			os.Exit(exitDone)
			return nil
		}).Bool()

	commands := make(map[string]command)
	add := func(name, help string, c command) *kingpin.CmdClause {
		cmd := app.Command(name, help)
		c.register(cmd)
		commands[name] = c
		return cmd
	}
	add("serve", "Run the daemon: take invocations in over HTTP, keep them, answer queries. "+unitsHelp, &serveCommand{})
	add("ls", "List the blocks: kind, day, rows, bytes, oldest, newest.", &lsCommand{})
	add("dump", "Print every invocation of days or files in ascending order, each task_id once.", &dumpCommand{})
	add("query", "Find invocations: the filters of GET /api/v1/invocations. Asks the daemon if one answers at --url, else reads blocks and log, and says which.", &queryCommand{})
	add("sql", "Run SQL over the view invocations of all days in range, each task_id once, today, what is not cut yet and legacy files included. Read-only.", &sqlCommand{})
	add("analyze", "Say what fills a day or a file: rows, bytes and detail bytes by task, worker, queue and exception type; the largest invocations.", &analyzeCommand{})
	add("verify", "Check days or files, or everything: a line per finding and what to do about it.", &verifyCommand{})
	add("backup", "Copy the data directory, today included, beside a running daemon or without one; days that are unchanged are not copied again.", &backupCommand{})
	add("retention", "Say which days retention would delete now, and when the disk will be full.", &retentionCommand{})
	add("import", "Send NDJSON files into a running daemon.", &importCommand{})
	add("bench", "Measure: generate load, print rates, latencies, sizes and write amplification beside those of other ways to store the same. It starts daemons of its own.", &benchCommand{})
	add("help-markdown", "Print the flags of all commands as Markdown.", &markdownCommand{app: app}).Hidden()
	return app, commands
}

// report says what went wrong on stderr and returns the exit code.
func report(err error) int {
	var option *tsdb.OptionsError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // whoever read the output has seen enough
		return exitDone
	case errors.Is(err, errFindings):
		return exitFailed
	}
	fmt.Fprintf(os.Stderr, "daybook: %v\n", err)
	if errors.As(err, &option) {
		return exitUsage
	}
	return exitFailed
}
