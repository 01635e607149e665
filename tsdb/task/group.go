package task

import "strings"

// podAlphabet is what Kubernetes draws pod hashes from (no vowels, no 0, 1, 3).
const podAlphabet = "bcdfghjklmnpqrstvwxz2456789"

// WorkerGroup is a worker's host name without the node prefix and without pod
// hashes: celery@app-worker-default-68c44cbdf6-2668h is of app-worker-default.
func WorkerGroup(worker string) string {
	_, host, found := strings.Cut(worker, "@")
	if !found {
		host = worker
	}
	head, last, ok := cutLast(host)
	if !ok {
		return host
	}
	switch {
	case podHash(last, 5, 5):
		// A Deployment's pod: name-<template hash>-<pod>; the template hash goes too.
		if h, hash, ok := cutLast(head); ok && podHash(hash, 6, 10) && hasDigit(hash) {
			return h
		}
		if hasDigit(last) {
			return head
		}
	case podHash(last, 8, 15) && hasDigit(last):
		// Cut to 63 characters, Kubernetes runs the two hashes together.
		return head
	case len(last) == 5 && alnum(last):
		if h, hash, ok := cutLast(head); ok && podHash(hash, 8, 10) && hasDigit(hash) {
			return h
		}
	}
	return host
}

func cutLast(s string) (head, last string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func podHash(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most && strings.Trim(s, podAlphabet) == ""
}

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

func alnum(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
