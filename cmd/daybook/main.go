package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
		return report(&tsdb.OptionsError{Err: fmt.Errorf("%s%w, try --help", whose(app, args, err), plainly(err))})
	}
	return report(commands[name].run())
}

// plainly says in words what values of kingpin's kinds are not.
func plainly(err error) error {
	var number *strconv.NumError
	text, enum := strings.CutPrefix(err.Error(), "enum value ")
	switch {
	case errors.As(err, &number) && number.Func == "ParseBool":
		return fmt.Errorf("%q is neither true nor false", params.Clip(number.Num))
	case errors.As(err, &number):
		return fmt.Errorf("%q is not a number that is possible here", params.Clip(number.Num))
	case enum:
		return errors.New(text)
	}
	return err
}

// whose names the flag, the variable or the argument that has a wrong value: what
// kingpin returns does not. It is the one that refuses what it was given in the same words.
func whose(app *kingpin.Application, args []string, cause error) string {
	parsed, err := app.ParseContext(switches(app.Model(), args))
	if err != nil {
		return ""
	}
	refuses := func(v kingpin.Value, text string) bool {
		err := v.Set(text)
		return err != nil && err.Error() == cause.Error()
	}
	for _, element := range parsed.Elements {
		if element.Value == nil {
			continue
		}
		switch clause := element.Clause.(type) {
		case *kingpin.FlagClause:
			if flag := clause.Model(); refuses(flag.Value, *element.Value) {
				return "--" + flag.Name + ": "
			}
		case *kingpin.ArgClause:
			if arg := clause.Model(); refuses(arg.Value, *element.Value) {
				return "<" + arg.Name + ">: "
			}
		}
	}
	if parsed.SelectedCommand == nil {
		return ""
	}
	for _, flag := range parsed.SelectedCommand.Model().Flags {
		if text := os.Getenv(flag.Envar); flag.Envar != "" && text != "" && refuses(flag.Value, text) {
			return flag.Envar + ": "
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
	app.Terminate(func(status int) { // what ends so, but with 0, is help about what there is not
		if status != exitDone {
			status = exitUsage
		}
		os.Exit(status)
	})
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
