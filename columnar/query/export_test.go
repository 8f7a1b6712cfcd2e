package query

// SetMaxComparisons changes how long the conditions may be that are looked at, and returns what sets it back.
func SetMaxComparisons(n int) (restore func()) {
	before := maxComparisons
	maxComparisons = n
	return func() { maxComparisons = before }
}
