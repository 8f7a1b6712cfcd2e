package remote_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/coordinator/state"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// Records are read in the order of the names that were asked for; one that was deleted has a mark and no body, one that never was has neither.
func TestReplicaReads(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	must(t, r.Swap(ctx, keystore.Swap{Changes: []keystore.RemoteChange{{Name: "b", Body: []byte("of b")}, {Name: "d", Body: []byte("of d")}}}))
	gone := w.one("d")
	must(t, r.Swap(ctx, keystore.Swap{Changes: []keystore.RemoteChange{{Name: "d", Before: gone.Mark}}}))
	names := []string{"d", "b", "a"}
	list, err := r.Read(ctx, names)
	must(t, err)
	if !slices.Equal(namesOf(list), names) || string(list[1].Body) != "of b" || list[1].Mark.Counter == 0 || len(list[0].Body)+len(list[2].Body) > 0 {
		t.Fatal(list)
	}
	if list[0].Mark.Counter != gone.Mark.Counter+1 || list[2].Mark != (keystore.Mark{}) {
		t.Error("marks of what is not there:", list[0].Mark, list[2].Mark)
	}
	must(t, r.Swap(ctx, keystore.Swap{Changes: []keystore.RemoteChange{{Name: "d", Before: list[0].Mark, Body: []byte("again")}}}))
	if again := w.one("d"); string(again.Body) != "again" || again.Mark.Counter != gone.Mark.Counter+2 {
		t.Error(again)
	}
	_, err = r.Read(ctx, nil)
	wants(t, "nothing", err, fault.InvalidRequest)
}

// An answer that does not hold all that was asked for holds the first of it, whatever the order of the names.
func TestReplicaReadsInPieces(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	want := map[string]string{"nothing": ""}
	for i := range 6 {
		name, body := fmt.Sprint("big-", i), strings.Repeat(string(rune('a'+i)), 1<<20)
		want[name] = body
		must(t, r.Swap(ctx, put(name, body)))
	}
	for i := range 300 {
		want[fmt.Sprintf("small-%03d", i)] = ""
	}
	var names []string
	for name := range want { // in any order
		names = append(names, name)
	}
	for _, order := range [][]string{names, slices.Sorted(slices.Values(names))} {
		calls := 0
		for left := order; len(left) > 0; calls++ {
			list, err := r.Read(ctx, left)
			if err != nil || len(list) == 0 || !slices.Equal(namesOf(list), left[:len(list)]) {
				t.Fatal(namesOf(list), err)
			}
			for _, rec := range list {
				if string(rec.Body) != want[rec.Name] {
					t.Fatalf("%s has %d bytes", rec.Name, len(rec.Body))
				}
			}
			left = left[len(list):]
		}
		if calls < 2 || calls > 12 {
			t.Errorf("6 MiB and 307 names in %d calls", calls)
		}
	}
	largest := bytes.Repeat([]byte("x"), keystore.MaxRemote)
	must(t, r.Swap(ctx, put("largest", string(largest))))
	if got := w.one("largest"); !bytes.Equal(got.Body, largest) {
		t.Error("a record of the largest size has", len(got.Body))
	}
}

// What was deleted is in no list, however much of it there is, and the pages go on behind it.
func TestReplicaLists(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	var some []keystore.RemoteChange
	var want []string
	for i := range 600 {
		name := fmt.Sprintf("p-%03d", i)
		some = append(some, keystore.RemoteChange{Name: name, Body: []byte("x")})
		if i >= 590 {
			want = append(want, name)
		}
	}
	some = append(some, keystore.RemoteChange{Name: "other", Body: []byte("x")}, keystore.RemoteChange{Name: "q", Body: []byte("x")})
	for part := range slices.Chunk(some, 64) {
		must(t, r.Swap(ctx, keystore.Swap{Changes: part}))
	}
	page, more, err := r.List(ctx, "p-", "")
	if err != nil || !more || len(page) != 256 || page[0].Mark == (keystore.Mark{}) || page[0].Body != nil {
		t.Fatal(len(page), more, err)
	}
	for after := ""; after < "p-589"; {
		page, _, err := r.List(ctx, "p-", after)
		must(t, err)
		var gone []keystore.RemoteChange
		for _, rec := range page {
			if after = rec.Name; rec.Name < "p-590" {
				gone = append(gone, keystore.RemoteChange{Name: rec.Name, Before: rec.Mark})
			}
		}
		for part := range slices.Chunk(gone, 64) {
			must(t, r.Swap(ctx, keystore.Swap{Changes: part}))
		}
	}
	page, more, err = r.List(ctx, "p-", "")
	if err != nil || more || !slices.Equal(namesOf(page), want) {
		t.Fatal(namesOf(page), more, err)
	}
	if page, more, err = r.List(ctx, "p-", "p-598"); err != nil || more || !slices.Equal(namesOf(page), want[9:]) {
		t.Fatal(namesOf(page), more, err)
	}
}

// All changes are made or none, each under a nonce of its own.
func TestReplicaSwaps(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	must(t, r.Swap(ctx, put("a", "one")))
	wrong := w.one("a").Mark
	wrong.Hash[3] ^= 1
	for what, before := range map[string]keystore.Mark{"none": {}, "another": wrong} {
		s := keystore.Swap{Changes: []keystore.RemoteChange{{Name: "b", Body: []byte("x")}, {Name: "a", Before: before, Body: []byte("two")}}}
		wants(t, what, r.Swap(ctx, s), fault.Conflict)
	}
	if a, b := w.one("a"), w.one("b"); string(a.Body) != "one" || b.Mark != (keystore.Mark{}) {
		t.Fatal("half of a swap was made:", a, b)
	}
	wants(t, "too large", r.Swap(ctx, put("c", string(make([]byte, keystore.MaxRemote+1)))), fault.TooLarge)
	must(t, r.Swap(ctx, keystore.Swap{Changes: []keystore.RemoteChange{{Name: "b", Body: []byte("same")}, {Name: "c", Body: []byte("same")}}}))
	nonces := map[string]bool{}
	for _, name := range []string{"a", "b", "c"} {
		b, err := w.client.Blob(ctx, name, 0)
		must(t, err)
		nonces[string(b.Nonce)] = true
	}
	if len(nonces) != 3 || nonces[string(make([]byte, coordinator.NonceSize))] {
		t.Error("nonces:", nonces)
	}
}

// raiseFloor has so many blobs made and deleted that what was deleted first is forgotten, and its counter is the floor.
func (w *world) raiseFloor(to uint64) {
	w.t.Helper()
	s, user := w.Main.State(), state.UserID(w.client.User())
	for i := 0; i < state.MaxDeleted+1; i += state.MaxSwaps {
		var made, gone []state.Swap
		for j := range min(state.MaxSwaps, state.MaxDeleted+1-i) {
			sw := state.Swap{Name: fmt.Sprintf("gone-%d-%d", to, i+j), Counter: to - 1, Body: []byte("x")}
			rand.Read(sw.Nonce[:]) //nolint:errcheck // never fails
			made = append(made, sw)
		}
		out, err := s.Swap(w.t.Context(), user, made)
		must(w.t, err)
		for j, sw := range made {
			sw.Counter, sw.Previous, sw.Delete, sw.Body = to, [32]byte(out.Versions[j].Hash), true, nil
			gone = append(gone, sw)
		}
		_, err = s.Swap(w.t.Context(), user, gone)
		must(w.t, err)
	}
}

// The floor rises above what was known of it, by deletions of another device: new records begin above it all the same, and no needless
// question is asked.
func TestNewRecordsAboveTheFloor(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	must(t, r.Swap(ctx, put("a", "x")))
	w.raiseFloor(5_000)
	must(t, r.Swap(ctx, put("b", "x")))
	if got := w.one("b").Mark.Counter; got <= 5_000 {
		t.Error("a new record begins at", got)
	}
	before := len(w.Records())
	must(t, r.Swap(ctx, put("c", "x")))
	if n := len(w.Records()) - before; n != 1 {
		t.Error(n, "requests for a swap")
	}
	wants(t, "there already", r.Swap(ctx, put("c", "y")), fault.Conflict)
	w.Hook(coordinatortest.Nth("readBlobs", 0, func(e *coordinatortest.Exchange) { e.Drop() }))
	w.raiseFloor(20_000)
	wants(t, "the floor is another, and not told", r.Swap(ctx, put("d", "y")), fault.Conflict)
	wants(t, "nor known", w.replica().Swap(ctx, put("d", "y")), fault.Unavailable)
	answers(w, "readBlobs", func(p *coordinator.BlobPage) { p.Floor = 1 << 60 })
	wants(t, "a floor without room above", w.replica().Swap(ctx, put("d", "y")), fault.NotAuthentic)
}

// What is no refusal leaves open whether a swap was made; every refusal has its code, and none of the coordinator's words.
func TestF11_LostAnswersToASwap(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	must(t, r.Swap(ctx, put("first", "x")))
	n := 0
	try := func(what string, made bool, code fault.Code, hook func(e *coordinatortest.Exchange)) {
		t.Helper()
		n++
		name := fmt.Sprint("n-", n)
		w.Hook(coordinatortest.Nth("swapBlobs", 0, hook))
		err := r.Swap(ctx, put(name, "x"))
		w.Hook(nil)
		wants(t, what, err, code)
		if strings.Contains(err.Error(), "hearsay") {
			t.Errorf("%s: the coordinator's words: %v", what, err)
		}
		if got := len(w.one(name).Body) > 0; got != made {
			t.Errorf("%s: made is %v", what, got)
		}
	}
	try("before", false, fault.Unavailable, func(e *coordinatortest.Exchange) { e.Drop() })
	try("after", true, fault.Unavailable, func(e *coordinatortest.Exchange) { e.Forward(); e.Drop() })
	try("cut", true, fault.Unavailable, func(e *coordinatortest.Exchange) { e.Forward().Cut = 20 })
	try("not JSON", true, fault.Unavailable, func(e *coordinatortest.Exchange) { e.Forward().Body = []byte("{") })
	try("too large", true, fault.Unavailable, func(e *coordinatortest.Exchange) { e.Forward().Body = bytes.Repeat([]byte(" "), 3<<20) })
	try("of others", true, fault.Unavailable, func(e *coordinatortest.Exchange) {
		e.Forward()
		e.Answer = coordinatortest.JSON(200, coordinator.Swapped{Versions: []coordinator.BlobVersion{{Hash: make([]byte, 32)}}})
	})
	try("of fewer", true, fault.Unavailable, func(e *coordinatortest.Exchange) {
		e.Forward()
		e.Answer = coordinatortest.JSON(200, coordinator.Swapped{Versions: []coordinator.BlobVersion{}})
	})
	refused := func(status int, code fault.Code) func(e *coordinatortest.Exchange) {
		return func(e *coordinatortest.Exchange) {
			p := coordinator.Problem{Type: "x", Title: "hearsay", Status: status, Code: string(code), Detail: new("hearsay"), RequestId: "hearsay"}
			e.Answer = coordinatortest.JSON(status, p)
			e.Answer.Header.Set("Content-Type", coordinator.ProblemType)
		}
	}
	for status, code := range map[int]fault.Code{
		401: fault.Unauthorized, 403: fault.Forbidden, 404: fault.NotFound, 409: fault.Conflict, 413: fault.TooLarge, 422: fault.Policy,
		429: fault.Busy, 503: fault.Unavailable, 507: fault.StorageFull, 400: fault.InvalidRequest,
	} {
		try(http.StatusText(status), false, code, refused(status, code))
	}
	try("what it cannot know", false, fault.NotAuthentic, refused(409, fault.Forked))
	wants(t, "offline", remote.NewReplica(offline).Swap(ctx, put("x", "x")), fault.Unavailable)
	if _, err := remote.NewReplica(offline).Read(ctx, []string{"x"}); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

// The coordinator answers with what was not asked for.
func TestAnswersToOtherQuestions(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.replica()
	for _, name := range []string{"a", "b", "c"} {
		must(t, r.Swap(ctx, put(name, "of "+name)))
	}
	read := func(what string, code fault.Code, lie func(p *coordinator.BlobPage)) {
		t.Helper()
		answers(w, "readBlobs", lie)
		_, err := r.Read(ctx, []string{"a", "b"})
		wants(t, "read: "+what, err, code)
		_, _, err = r.List(ctx, "a", "")
		wants(t, "list: "+what, err, code)
		w.Hook(nil)
	}
	c, err := w.client.ReadBlobs(ctx, coordinator.BlobRead{Names: &[]string{"c"}, Bodies: new(true)})
	must(t, err)
	read("another blob", fault.NotAuthentic, func(p *coordinator.BlobPage) { p.Blobs = c.Blobs })
	read("another name", fault.NotAuthentic, func(p *coordinator.BlobPage) { p.Blobs[0].Name = "b" })
	read("another body", fault.NotAuthentic, func(p *coordinator.BlobPage) {
		p.Blobs[0].Body = new([]byte("of x"))
		p.Blobs[0].Newest.BodyHash = make([]byte, 32)
	})
	read("one of them twice", fault.NotAuthentic, func(p *coordinator.BlobPage) { p.Blobs = append(p.Blobs, p.Blobs[0]) })
	read("no end", fault.NotAuthentic, func(p *coordinator.BlobPage) { p.Blobs, p.More = nil, true })
	read("too much", fault.TooLarge, func(p *coordinator.BlobPage) { p.Epoch = strings.Repeat("x", 7<<20) })
	answers(w, "readBlobs", func(p *coordinator.BlobPage) { slices.Reverse(p.Blobs) })
	_, err = r.Read(ctx, []string{"a", "b"})
	wants(t, "read: not in order", err, fault.NotAuthentic)
	answers(w, "readBlobs", func(p *coordinator.BlobPage) { p.Blobs = p.Blobs[1:] })
	list, err := r.Read(ctx, []string{"a", "b"})
	if err != nil || list[0].Mark != (keystore.Mark{}) || string(list[1].Body) != "of b" { // nobody can see that: the vault's root can
		t.Error(list, err)
	}
}

// The coordinator's blobs are a replica as package keystore wants one.
func TestReplicaConforms(t *testing.T) {
	keystoretest.TestReplica(t, func(t *testing.T, login keystore.Proof) keystore.Replica {
		c := coordinatortest.New(t, coordinatortest.Options{})
		own, client := login.For(c.URL), c.Client(coordinator.Options{})
		user := coordinatortest.UserN(1)
		must(t, client.Register(t.Context(), coordinator.Registration{User: user.ID, EmailHash: user.EmailHash, Proof: own.Bytes()}))
		return remote.NewReplica(over(client))
	})
}
