// Package redis listens to Celery's events on a Redis broker.
//
// # Model
//
// Workers PUBLISH; nothing is stored, so what nobody listens to is gone, and
// Redis cuts off who does not read fast enough. One goroutine therefore does
// nothing but read the socket into a bounded queue, and another decodes, stores
// and counts. When the queue is full the newest messages are dropped, counted
// and told as a gap: dropping here is visible, being cut off by Redis is not.
//
// There is one subscription, to one pattern (config.go), on one connection that
// is not given up as long as it answers.
//
// # What it does not do
//
// It reads and writes no key and needs no right but PSUBSCRIBE and PING on its
// pattern. It does not follow Sentinel or Cluster.
package redis
