//go:build race

package membership

// slower: under the race detector, which makes all ten times as long, one step of so many is tried, from a random one on.
const slower = 5
