// Package daemon puts Daybook together: the composition root.
//
// # Model
//
// Run opens the data directory, listens, and starts the actors of the daemon:
// the signal handler, the requests' base context, the HTTP server and the
// database. They start together and end together: the first that returns
// interrupts the others.
//
// The order in which actors are added is the order in which they are
// interrupted. The context of the requests goes first, because the server's
// Shutdown waits for the requests that are under way; then the server, so that
// nothing new arrives; then the database's loops. The database is closed after
// all of them have returned: that cuts what is finished.
//
// # Promises
//
// HTTP answers while the log is being replayed. SIGTERM and SIGINT end in a
// clean directory and a nil error; a second one kills.
//
// # What it does not do
//
// No flags and no exit codes: those are cmd/daybook's.
package daemon
