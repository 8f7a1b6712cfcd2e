package badgerstore

import (
	"testing"

	"coldframe/coordinator/store"
	"coldframe/coordinator/storetest"
)

func open(t testing.TB, place string) store.Store {
	t.Helper()
	s, err := Open(place, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestState(t *testing.T) { storetest.RunState(t, open) }
