package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/dir"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func folder(t *testing.T) columnar.Store {
	t.Helper()
	s, err := dir.New(t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // end of the test
	return s
}

// TestHonest puts a hostile store without hooks through the suite.
func TestHonest(t *testing.T) {
	storetest.Run(t, func(t *testing.T) columnar.Store { return storetest.NewHostile(folder(t), storetest.Hooks{}) })
}

// TestHooks sees to it that each lie is told: a hostile store that is honest would let every test above it pass.
func TestHooks(t *testing.T) {
	ctx := t.Context()
	h := storetest.NewHostile(folder(t), storetest.Hooks{})
	a, b, c := columnar.NewObjectName(), columnar.NewObjectName(), columnar.NewObjectName()
	for name, body := range map[columnar.ObjectName]string{a: "aaaa", b: "bbbb"} {
		if err := storetest.Put(ctx, h, name, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.Written()) != 2 {
		t.Fatal("writes are not recorded")
	}
	read := func(n int64) string {
		got, err := storetest.Get(ctx, h, a, 0, n)
		if err != nil {
			return string(fault.CodeOf(err))
		}
		return string(got)
	}
	for _, c := range []struct {
		what  string
		hooks storetest.Hooks
		n     int64
		want  string
	}{
		{"honest", storetest.Hooks{}, 4, "aaaa"},
		{"swapped", storetest.Hooks{Rename: func(columnar.ObjectName) columnar.ObjectName { return b }}, 4, "bbbb"},
		{"changed", storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte { return bytes.ToUpper(b) }}, 4, "AAAA"},
		{"cut", storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte { return b[:3] }}, 4, "incomplete"},
		{"extended", storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte { return append(b, 'x') }}, 5, "aaaax"},
		{"dropped", storetest.Hooks{Content: func(columnar.ObjectName, []byte) []byte { return nil }}, 4, "not_found"},
		{"short range", storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte { return b[1:] }}, 4, "aaa"},
		{"failed", storetest.Hooks{Before: func(context.Context, string, columnar.ObjectName) error { return fault.Busy }}, 4, "busy"},
	} {
		h.Set(c.hooks)
		if got := read(c.n); got != c.want {
			t.Errorf("%s: %q", c.what, got)
		}
	}
	h.Set(storetest.Hooks{Keep: func(columnar.ObjectName, []byte) []byte { return nil }})
	if err := storetest.Put(ctx, h, c, []byte("cccc")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Size(ctx, c); !errors.Is(err, fault.NotFound) {
		t.Errorf("a dropped write was kept: %v", err)
	}
	if err := h.Replace(ctx, a, []byte("other")); err != nil || read(5) != "other" {
		t.Errorf("replace: %v, %q", err, read(5))
	}
	h.Set(storetest.Hooks{Listing: func(l []storetest.Listed) []storetest.Listed { return append(l, l[0], storetest.Listed{Name: c}) }})
	var n int
	if err := h.List(ctx, func(columnar.ObjectName, int64, time.Time) error { n++; return nil }); err != nil || n != 4 {
		t.Errorf("%d listed, %v", n, err)
	}
}
