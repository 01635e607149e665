// Package params reads the parameters by which invocations are asked for: of
// the HTTP endpoints and of the command line, so that both take the same things
// and refuse the same things.
//
// # Model
//
// Parameters are texts by name. Parse sorts out which are known and what their
// short names stand for, a Reader reads them one by one and keeps the first
// thing that is wrong, ParseList makes a query of them. A cursor is the place
// where a page ended and a fingerprint of the filters: it continues no other
// query.
//
// # What it does not do
//
// No HTTP: whoever asks decides what a wrong parameter is answered with.
package params
