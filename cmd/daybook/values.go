package main

import (
	"time"

	"github.com/alecthomas/kingpin/v2"

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

// durationFlag and sizeFlag declare a flag and its default.
func durationFlag(f *kingpin.FlagClause, to *time.Duration, def string) {
	f.Default(def).SetValue((*durationValue)(to))
}

func sizeFlag(f *kingpin.FlagClause, to *int64, def string) {
	f.Default(def).SetValue((*sizeValue)(to))
}
