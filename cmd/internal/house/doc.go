// Package house checks the rules of the house on the sources themselves: who may
// import whom, what may lie at the top level, and a short list of things that
// are not done here. Its test runs them on this repository; nothing imports it.
//
// The sources are read and parsed here, in every build configuration at once. A
// test that asks `go list` is answered from the test cache, and passes on a tree
// that it has never seen.
//
// A rule is a name (the Rule constants) and a few lines of code; the test proves
// for each that it can fail. To give a new package a place in the house, add its
// row to rooms in imports.go and say why in the commit.
package house
