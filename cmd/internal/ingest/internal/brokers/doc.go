// Package brokers starts real brokers and Celery workers for the tests of
// ingest: Debian's redis-server, rabbitmq-server and python3-celery, on free
// loopback ports, with their data in the test's temporary directory. What it
// starts it stops, by process id, when the test ends.
//
// Nothing but tests imports it.
package brokers
