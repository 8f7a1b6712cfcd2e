package dialogue

import "testing"

func connectOurs(t testing.TB) *peer {
	t.Skip("not yet")
	return nil
}
