//go:build !race

package messages

const slower = 1
