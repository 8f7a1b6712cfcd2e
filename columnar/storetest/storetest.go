package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// Large is the length of the suite's large object: more than two parts of the smallest size that S3 allows.
const Large = 11<<20 + 123

// Run puts a store through the suite. open returns an empty store, which it closes itself at the end of the test.
func Run(t *testing.T, open func(t *testing.T) columnar.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s columnar.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"WriteCopies", testWriteCopies},
		{"Ranges", testRanges},
		{"RangeEndsLate", testRangeEnds},
		{"NeverReplaces", testNeverReplaces},
		{"Race", testRace},
		{"SizeAndDelete", testSizeAndDelete},
		{"List", testList},
		{"ListStops", testListStops},
		{"NothingBeforeClose", testNothingBeforeClose},
		{"Abort", testAbort},
		{"Cancelled", testCancelled},
		{"AbortUploads", testAbortUploads},
		{"Progress", testProgress},
		{"BadNamePanics", testBadName},
		{"Check", testCheck},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Bytes returns n bytes that a seed decides.
func Bytes(seed uint64, n int) []byte {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(s).Read(b) //nolint:errcheck // never fails
	return b
}

// Put writes an object whole, or leaves nothing.
func Put(ctx context.Context, s columnar.Store, name columnar.ObjectName, body []byte) error {
	u, err := s.Create(ctx, name, columnar.CreateOptions{SizeHint: int64(len(body))})
	if err != nil {
		return err
	}
	if _, err := u.Write(body); err != nil {
		return errors.Join(err, u.Abort())
	}
	return u.Close()
}

// Get reads a range whole.
func Get(ctx context.Context, s columnar.Store, name columnar.ObjectName, off, n int64) ([]byte, error) {
	r, err := s.ReadRange(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func mustPut(t *testing.T, s columnar.Store, body []byte) columnar.ObjectName {
	t.Helper()
	name := columnar.NewObjectName()
	if err := Put(t.Context(), s, name, body); err != nil {
		t.Fatalf("put %d bytes: %v", len(body), err)
	}
	return name
}

// wantBody fails the test unless the object is there with just this content.
func wantBody(t *testing.T, s columnar.Store, name columnar.ObjectName, want []byte) {
	t.Helper()
	size, err := s.Size(t.Context(), name)
	if err != nil || size != int64(len(want)) {
		t.Fatalf("size %d, %v; want %d", size, err, len(want))
	}
	got, err := Get(t.Context(), s, name, 0, size)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, %v; want the %d that were written", len(got), err, len(want))
	}
}

func wantCode(t *testing.T, what string, err error, want fault.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %s", what, err, want)
	}
}

// wantNothing fails the test if anything is left under the name.
func wantNothing(t *testing.T, s columnar.Store, name columnar.ObjectName) {
	t.Helper()
	_, err := s.Size(t.Context(), name)
	wantCode(t, "size", err, fault.NotFound)
	_, err = Get(t.Context(), s, name, 0, 1)
	wantCode(t, "read", err, fault.NotFound)
	if names := listed(t, s); names[name] != 0 {
		t.Fatal("the listing still has it")
	}
}
