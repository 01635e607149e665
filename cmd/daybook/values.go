package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"daybook/cmd/internal/params"
	"daybook/cmd/internal/units"
)

// durationValue reads 30s, 10m, 36h, 7d.
type durationValue time.Duration

func (d *durationValue) Set(s string) error {
	v, err := units.ParseDuration(s)
	*d = durationValue(v)
	return err
}

func (d *durationValue) String() string { return units.FormatDuration(time.Duration(*d)) }

// sizeValue reads 1024, 32MiB, 10GB.
type sizeValue int64

func (n *sizeValue) Set(s string) error {
	v, err := units.ParseSize(s)
	*n = sizeValue(v)
	return err
}

func (n *sizeValue) String() string { return units.FormatSize(int64(*n)) }

// countValue reads a whole number from 0.
type countValue uint32

func (n *countValue) Set(s string) error {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a whole number from 0 to %d", params.Clip(s), uint32(math.MaxUint32))
	}
	*n = countValue(v)
	return nil
}

func (n *countValue) String() string { return strconv.FormatUint(uint64(*n), 10) }

// durationFlag, sizeFlag and countFlag declare a flag and its default.
func durationFlag(f *kingpin.FlagClause, to *time.Duration, def string) {
	f.Default(def).SetValue((*durationValue)(to))
}

func sizeFlag(f *kingpin.FlagClause, to *int64, def string) {
	f.Default(def).SetValue((*sizeValue)(to))
}

func countFlag(f *kingpin.FlagClause, to *uint32, def string) {
	f.Default(def).SetValue((*countValue)(to))
}

// switches turns --name=true and --name=false into --name and --no-name, which
// is all that kingpin understands of flags that are on or off: others take
// their values so, and the environment does of these.
func switches(app *kingpin.ApplicationModel, args []string) []string {
	isSwitch := map[string]bool{}
	for _, cmd := range app.Commands {
		if len(args) > 0 && cmd.Name == args[0] {
			for _, f := range cmd.Flags {
				isSwitch[f.Name] = f.IsBoolFlag()
			}
		}
	}
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		text, long := strings.CutPrefix(arg, "--")
		name, value, given := strings.Cut(text, "=")
		if on, off := value == "true", value == "false"; long && given && (on || off) {
			opposite, isNo := strings.CutPrefix(name, "no-")
			switch {
			case isSwitch[name] && on, isNo && !isSwitch[name] && isSwitch[opposite] && on:
				arg = "--" + name
			case isSwitch[name]:
				arg = "--no-" + name
			case isNo && isSwitch[opposite]:
				arg = "--" + opposite
			}
		}
		out = append(out, arg)
	}
	return out
}
