package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

func (b *stateBench) read(r state.Read) state.Page {
	b.t.Helper()
	p, err := b.Read(context.Background(), UserN(0), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// since reads what changed after a change, page by page.
func (b *stateBench) since(change uint64, limit int, prefix string) (names []string, missed bool, now uint64) {
	b.t.Helper()
	for {
		p := b.read(state.Read{Since: &change, Limit: limit, Prefix: prefix})
		for _, blob := range p.Blobs {
			name := blob.Name
			if blob.Deleted() {
				name = "-" + name
			}
			names = append(names, name)
			change = blob.Change
		}
		if !p.More {
			return names, p.Missed, p.Change
		}
	}
}

// readChanges: what changed since a change, deletions too, each blob once, what changed together in one page.
func readChanges(t *testing.T, b *stateBench) {
	b.user(0)
	zero := state.Version{}
	one := b.mustSwap(next("a", zero, 1, "a"), next("b", zero, 1, "b"), next("c", zero, 1, "c"))
	b.mustSwap(next("d", zero, 1, "d"))
	b.mustSwap(next("a", one.Versions[0], 1, "a2"), deletion("b", one.Versions[1]))
	want := func(since uint64, limit int, prefix, list string) {
		t.Helper()
		if names, missed, now := b.since(since, limit, prefix); strings.Join(names, " ") != list || missed || now != 3 {
			t.Errorf("since %d: %v, %v, %d", since, names, missed, now)
		}
	}
	for _, limit := range []int{1, 2, 256} {
		want(0, limit, "", "c d a -b")
		want(1, limit, "", "d a -b")
		want(2, limit, "", "a -b")
		want(3, limit, "", "")
		want(0, limit, "d", "d")
		b.restart()
	}
	since := uint64(2)
	if p := b.read(state.Read{Since: &since, Limit: 1}); len(p.Blobs) != 2 || p.More {
		t.Errorf("a swap was torn: %+v", p)
	}
	events, err := b.Events(context.Background(), UserN(0), b.Epoch(), 0)
	if err != nil || len(events) != 3 || events[1].Number != 2 || events[1].Name != "d" || events[2].Number != 3 || events[2].Name != "" {
		t.Errorf("%+v, %v", events, err)
	}
	if _, missed, _ := b.since(4, 1, ""); !missed {
		t.Error("a change that has not been: nothing was missed")
	}
	for round := range state.MaxDeleted/64 + 1 {
		var list []state.Swap
		for i := range 64 {
			list = append(list, next(fmt.Sprintf("n-%d-%d", round, i), state.Version{Counter: 10}, 1, ""))
		}
		for i, v := range b.mustSwap(list...).Versions {
			list[i] = deletion(list[i].Name, v)
		}
		b.mustSwap(list...)
	}
	if _, missed, _ := b.since(2, 256, ""); !missed {
		t.Error("a deletion was forgotten and nothing was missed")
	}
	if names, missed, _ := b.since(0, 256, "a"); missed || strings.Join(names, " ") != "a" {
		t.Errorf("from the beginning: %v, %v", names, missed)
	}
}

// readOneMoment: blobs that change together are read together.
func readOneMoment(t *testing.T, b *stateBench) {
	b.user(0)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		var one, two state.Version
		for i := range 200 {
			body := fmt.Sprint(i)
			made := b.mustSwap(next("one", one, byte(i), body), next("two", two, byte(i), body))
			one, two = made.Versions[0], made.Versions[1]
		}
	})
	defer wg.Wait()
	since := uint64(0)
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		for _, r := range []state.Read{{Names: []string{"two", "one", "none"}}, {Prefix: ""}, {Since: &since}} {
			r.Bodies, r.Limit = true, 2
			p := b.read(r)
			if n := len(p.Blobs); n == 0 && p.Change == 0 {
				continue
			} else if n != 2 || string(p.Blobs[0].Body) != string(p.Blobs[1].Body) || p.Blobs[0].Change != p.Change {
				t.Errorf("%+v", p)
				return
			}
		}
	}
}

// readPages: pages by name are whole, in order, and bounded by number and by bytes.
func readPages(t *testing.T, b *stateBench) {
	b.user(0)
	zero := state.Version{}
	large := string(make([]byte, state.MaxReadBytes/2+1))
	for _, name := range []string{"a", "b", "c"} {
		b.mustSwap(next("big-"+name, zero, 1, large))
	}
	made := b.mustSwap(next("x", zero, 1, "x"), next("y", zero, 1, ""), next("z", zero, 1, "z"))
	b.mustSwap(deletion("z", made.Versions[2]))
	pages := func(r state.Read) string {
		t.Helper()
		var out []string
		for {
			p := b.read(r)
			for _, blob := range p.Blobs {
				out, r.After = append(out, fmt.Sprintf("%s:%d", blob.Name, len(blob.Body))), blob.Name
			}
			if out = append(out, "|"); !p.More {
				return strings.Join(out, " ")
			}
		}
	}
	n := len(large)
	for _, c := range []struct {
		r    state.Read
		want string
	}{
		{state.Read{Limit: 256}, "big-a:0 big-b:0 big-c:0 x:0 y:0 z:0 |"},
		{state.Read{Limit: 4}, "big-a:0 big-b:0 big-c:0 x:0 | y:0 z:0 |"},
		{state.Read{Limit: 256, Bodies: true}, fmt.Sprintf("big-a:%d | big-b:%d | big-c:%d x:1 y:0 z:0 |", n, n, n)},
		{state.Read{Limit: 256, Bodies: true, Names: []string{"x", "big-c", "no", "big-a", "x"}}, fmt.Sprintf("big-a:%d | big-c:%d x:1 |", n, n)},
		{state.Read{Limit: 256, Prefix: "big-"}, "big-a:0 big-b:0 big-c:0 |"},
		{state.Read{Limit: 256, Prefix: "no"}, "|"},
	} {
		if got := pages(c.r); got != c.want {
			t.Errorf("%+v: %s", c.r, got)
		}
	}
	if _, err := b.Read(context.Background(), UserN(0), state.Read{Limit: state.MaxRead + 1}); !errors.Is(err, fault.InvalidRequest) {
		t.Error(err)
	}
}
