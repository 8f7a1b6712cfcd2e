//go:build !race

package coldframe

const raceDetector = false
