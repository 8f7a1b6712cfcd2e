//go:build race

package messages

// slower is what long tests are divided by under the race detector, which makes them ten times as long.
const slower = 8
