package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// markdownCommand prints docs/flags.md.
type markdownCommand struct{ app *kingpin.Application }

func (c *markdownCommand) register(*kingpin.CmdClause) {}

func (c *markdownCommand) run() error {
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(w, `# Flags

Every flag is also an environment variable, if one is named; the flag wins. A flag that is repeatable has
one value a line there. Sizes take KiB, MiB, GiB (powers of 1024), KB, MB, GB
(powers of 1000) or plain bytes; durations take 30s, 10m, 36h, 7d. Exit codes: 0 done, 1 failed or a finding,
2 usage, invalid values included. What is on or off is written --name or --no-name, also --name=true or =false. This page is printed by `+"`daybook help-markdown`"+`.
`)
	for _, cmd := range c.app.Model().Commands {
		if !cmd.Hidden && cmd.Name != "help" {
			printCommand(w, cmd)
		}
	}
	return w.Flush()
}

func printCommand(w *bufio.Writer, cmd *kingpin.CmdModel) {
	usage := "daybook " + cmd.Name
	if len(cmd.Flags) > 0 {
		usage += " [flags]"
	}
	for _, a := range cmd.Args {
		usage += " " + argument(a)
	}
	fmt.Fprintf(w, "\n## daybook %s\n\n    %s\n\n%s\n", cmd.Name, usage, cmd.Help)
	if len(cmd.Args) > 0 {
		fmt.Fprint(w, "\n| argument | meaning |\n|---|---|\n")
		for _, a := range cmd.Args {
			fmt.Fprintf(w, "| %s | %s |\n", cell(a.Name), cell(a.Help))
		}
	}
	fmt.Fprint(w, "\n| flag | default | environment | meaning |\n|---|---|---|---|\n")
	for _, f := range cmd.Flags {
		if !f.Hidden {
			envar := ""
			if f.Envar != "" {
				envar = "`" + f.Envar + "`"
			}
			fmt.Fprintf(w, "| `--%s` | %s | %s | %s |\n", f.Name, defaultOf(f), envar, cell(f.Help))
		}
	}
}

func argument(a *kingpin.ArgModel) string {
	s := strings.ToUpper(a.Name)
	if v, ok := a.Value.(interface{ IsCumulative() bool }); ok && v.IsCumulative() {
		s += "…"
	}
	if !a.Required {
		s = "[" + s + "]"
	}
	return s
}

func defaultOf(f *kingpin.FlagModel) string {
	switch {
	case len(f.Default) > 0:
		return "`" + strings.Join(f.Default, ", ") + "`"
	case f.IsBoolFlag():
		return "off"
	case f.PlaceHolder != "": // a default that the flag's text explains
		return "`" + f.PlaceHolder + "`"
	}
	return "none"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
