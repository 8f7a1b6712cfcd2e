//go:build !race

package membership

// slower: every step is tried.
const slower = 1
