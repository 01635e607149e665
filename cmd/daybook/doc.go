// Command daybook is the storage daemon and its tools, one file per
// subcommand.
//
// A subcommand is a config struct with register, which declares its flags, and
// run. What values mean is validated where they are used (tsdb, daemon), so
// that embedders and tests get the same errors; here they are only read.
//
// Exit codes: 0 done, 1 failed or a finding, 2 usage, which includes invalid
// option values.
package main
