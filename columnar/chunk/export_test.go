package chunk

// SetPageBytes changes the size of pages, and returns what sets it back.
func SetPageBytes(n int) (restore func()) {
	before := pageBytes
	pageBytes = n
	return func() { pageBytes = before }
}
