// Package api is Daybook's HTTP interface: handlers over a small interface that
// *tsdb.DB satisfies.
//
// # Model
//
// Requests that write are read line by line (or element by element, for a JSON
// array), every line becomes a record or an error with its number, and the
// records of a request go to the store in one Append, so that a store that
// refuses does so for the whole request. Memory is borrowed from the store's
// own budget while a body is being read.
//
// Requests that read are parsed into a tsdb.Query. Relative times become
// absolute on the first page and travel in the cursor from then on, so that a
// walk over pages sees one range. A cursor is opaque, checked, and bound to the
// filters it was issued with.
//
// # Promises
//
//   - Every answer is JSON, errors are {"error": "…"}, also for unknown paths.
//   - A broken line never costs its neighbours, a broken request never costs
//     the process: sizes, times, concurrency and nesting are bounded.
//   - What is not understood is refused: unknown parameters are a 400.
//
// # What it does not do
//
// No Celery protocol (an EventParser is handed in), no listener, no TLS.
package api
