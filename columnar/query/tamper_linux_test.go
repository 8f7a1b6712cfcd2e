package query_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// liar is a store that changes what it gives.
type liar struct {
	columnar.Store
	lie func(off int64, b []byte) ([]byte, error)
}

func (l *liar) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	r, err := l.Store.ReadRange(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if b, err = l.lie(off, b); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// tamper runs a query on a store that lies and returns how it failed; a row that comes of it fails the test.
func tamper(t *testing.T, lie func(chunk bool, b []byte) ([]byte, error)) error {
	t.Helper()
	w, o := newWorld(t), options(t)
	w.add(20_000)
	parts, err := w.head.LoadParts(context.Background(), w.store)
	if err != nil {
		t.Fatal(err)
	}
	w.store = &liar{w.store, func(off int64, b []byte) ([]byte, error) { return lie(off < int64(parts[0].TailOffset), b) }}
	got, err := w.run(context.Background(), o, `SELECT sum(price), max(city) FROM mixed`)
	if len(got) > 0 {
		t.Errorf("a result came: %s", cells(got))
	}
	return err
}

// A bit that was turned in a chunk or in a footer is an error of the query, never another result.
func TestD11_TamperedBytesInQuery(t *testing.T) {
	for _, chunk := range []bool{true, false} {
		err := tamper(t, func(isChunk bool, b []byte) ([]byte, error) {
			if isChunk == chunk {
				b[len(b)/2] ^= 1
			}
			return b, nil
		})
		if !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("in a chunk %v: %v", chunk, err)
		}
	}
}

func TestD03_MissingPartInQuery(t *testing.T) {
	err := tamper(t, func(bool, []byte) ([]byte, error) { return nil, fault.New(fault.NotFound, "gone") })
	if !errors.Is(err, fault.Incomplete) {
		t.Error(err)
	}
}
