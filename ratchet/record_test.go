package ratchet_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// A record that is opened and encoded again has the same bytes, and so has one that was never stored but kept in memory.
func TestRecordHasOneForm(t *testing.T) {
	alice, bob := meet(t)
	var late ratchet.Message
	for i := range 200 {
		switch i % 20 {
		case 7:
			late = send(t, alice, bob, "late")
		case 9:
			read(t, alice, bob, late, "late")
		}
		if i%50 == 31 {
			start(t, bob, alice, oneTime)
		}
		say(t, alice, bob, fmt.Sprint(i))
		say(t, bob, alice, fmt.Sprint(i))
		for _, p := range [][2]*ratchettest.Party{{alice, bob}, {bob, alice}} {
			parts := stored(t, p[0], p[1])
			sameParts(t, "the record in memory", session(t, p[0], p[1]).Record(), parts)
			s, err := ratchet.OpenSession(p[0].Local, p[1].Address(), parts, 0)
			if err != nil {
				t.Fatal(err)
			}
			sameParts(t, "the opened record", s.Record(), parts)
		}
	}
}

// Parties of fixed randomness do the same: messages and records are those of their twins, also where one reads its record anew each time.
func TestTwins(t *testing.T) {
	talk := func(reload bool) (bodies [][]byte, alice, bob *ratchettest.Party) {
		alice, bob = ratchettest.NewTwin("alice"), ratchettest.NewTwin("bob")
		start(t, alice, bob, oneTime)
		for i := range 60 {
			from, to := alice, bob
			if i%3 == 2 {
				from, to = bob, alice
			}
			m := send(t, from, to, fmt.Sprint(i))
			bodies = append(bodies, m.Body)
			if i%7 != 3 {
				read(t, from, to, m, fmt.Sprint(i))
			}
			if i%20 == 19 {
				start(t, bob, alice, lastResort)
			} else if reload {
				alice.Reload()
				bob.Reload()
			}
		}
		return bodies, alice, bob
	}
	bodies, alice, bob := talk(false)
	others, alice2, bob2 := talk(true)
	for i := range bodies {
		if !bytes.Equal(bodies[i], others[i]) {
			t.Fatalf("message %d differs", i)
		}
	}
	sameParts(t, "the twin's record", stored(t, alice2, bob2), stored(t, alice, bob))
	sameParts(t, "the twin's record", stored(t, bob2, alice2), stored(t, bob, alice))
	if !bytes.Equal(alice.PreKeys.Record(), alice2.PreKeys.Record()) || !bytes.Equal(bob.PreKeys.Record(), bob2.PreKeys.Record()) {
		t.Error("the twins' prekeys differ")
	}
}

// A record belongs to one pair of parties.
func TestS02_RecordOfAnotherPair(t *testing.T) {
	alice, bob := meet(t)
	carol := ratchettest.NewParty("carol")
	introduce(t, alice, carol)
	parts := stored(t, alice, bob)
	device := func(a ratchet.Address) ratchet.Address { a.Device++; return a }
	other := *alice.Local
	other.Address = device(other.Address)
	for what, open := range map[string]func() (*ratchet.Session, error){
		"another peer": func() (*ratchet.Session, error) { return ratchet.OpenSession(alice.Local, carol.Address(), parts, 0) },
		"another device": func() (*ratchet.Session, error) {
			return ratchet.OpenSession(alice.Local, device(bob.Address()), parts, 0)
		},
		"our other device": func() (*ratchet.Session, error) { return ratchet.OpenSession(&other, bob.Address(), parts, 0) },
		"another party":    func() (*ratchet.Session, error) { return ratchet.OpenSession(carol.Local, bob.Address(), parts, 0) },
		"the other way":    func() (*ratchet.Session, error) { return ratchet.OpenSession(bob.Local, alice.Address(), parts, 0) },
		"a name cut in two": func() (*ratchet.Session, error) {
			return ratchet.OpenSession(alice.Local, ratchet.Address{Name: "bo", Device: 'b'}, parts, 0)
		},
		"no device": func() (*ratchet.Session, error) {
			return ratchet.OpenSession(alice.Local, ratchet.Address{Name: "bob"}, parts, 0)
		},
		"a record of nobody": func() (*ratchet.Session, error) { return ratchet.OpenSession(alice.Local, bob.Address(), nil, 0) },
	} {
		s, err := open()
		wantFault(t, what, err, fault.NotAuthentic)
		if s != nil {
			t.Errorf("%s: a session and an error", what)
		}
	}
	if _, err := ratchet.OpenSession(alice.Local, bob.Address(), parts, 0); err != nil {
		t.Error(err)
	}
}

// Parts of different times, missing, doubled and foreign ones do not open together.
func TestPartsThatDoNotBelongTogether(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "hello")
	var history [][]ratchet.Part
	for i := range 120 {
		if i%5 == 1 {
			send(t, alice, bob, "lost")
		}
		say(t, bob, alice, "b")
		say(t, alice, bob, "a")
		history = append(history, stored(t, bob, alice))
	}
	open := func(parts []ratchet.Part) error {
		_, err := ratchet.OpenSession(bob.Local, alice.Address(), parts, 0)
		return err
	}
	others := func(i int) (b []byte) {
		for _, p := range history[i][1:] {
			b = append(b, p.Body...)
		}
		return b
	}
	mixed := 0
	for i := 7; i < len(history); i++ {
		for _, j := range []int{i - 1, i - 7} {
			for k, p := range history[i] {
				at := slices.IndexFunc(history[j], func(o ratchet.Part) bool { return o.ID == p.ID })
				if at < 0 || bytes.Equal(history[j][at].Body, p.Body) {
					continue
				}
				if p.ID == ratchet.HeadPart && bytes.Equal(others(i), others(j)) {
					continue // then it is the record of another time: its counter tells
				}
				parts := slices.Clone(history[i])
				parts[k] = history[j][at]
				wantFault(t, fmt.Sprintf("part %d of another time", p.ID), open(parts), fault.NotAuthentic)
				mixed++
			}
		}
	}
	if mixed < 400 {
		t.Errorf("only %d mixtures were tried", mixed)
	}
	last := history[len(history)-1]
	for i, p := range last {
		less := slices.Delete(slices.Clone(last), i, i+1)
		want := fault.Incomplete
		if p.ID == ratchet.HeadPart {
			want = fault.NotAuthentic
		}
		wantFault(t, fmt.Sprintf("without part %d", p.ID), open(less), want)
		wantFault(t, fmt.Sprintf("part %d twice", p.ID), open(append(slices.Clone(last), p)), fault.NotAuthentic)
		renamed := slices.Clone(last)
		renamed[i].ID += 8
		if err := open(renamed); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
			t.Errorf("part %d renamed: %v", p.ID, err)
		}
	}
	wantFault(t, "a part more", open(append(slices.Clone(last), ratchet.Part{ID: 99, Body: []byte{1}})), fault.NotAuthentic)
	wantFault(t, "an empty part more", open(append(slices.Clone(last), ratchet.Part{ID: 99})), fault.NotAuthentic)
	slices.Reverse(last)
	if err := open(last); err != nil {
		t.Errorf("in another order: %v", err)
	}
}

func TestRecordOfAnotherVersion(t *testing.T) {
	alice, bob := meet(t)
	for _, v := range []byte{0, 2, 255} {
		parts := stored(t, alice, bob)
		parts[0].Body[0] = v
		_, err := ratchet.OpenSession(alice.Local, bob.Address(), parts, 0)
		wantFault(t, fmt.Sprintf("version %d", v), err, fault.Policy)
		_, err = ratchet.HeadCounter(parts[0].Body)
		wantFault(t, fmt.Sprintf("version %d", v), err, fault.Policy)
	}
	for n := range 9 {
		_, err := ratchet.HeadCounter(make([]byte, n))
		if n == 0 {
			wantFault(t, "no head", err, fault.NotAuthentic)
		} else if err == nil {
			t.Errorf("a head of %d bytes has a counter", n)
		}
	}
	head := stored(t, alice, bob)[0].Body
	if n, err := ratchet.HeadCounter(head); err != nil || n != session(t, alice, bob).Info().Counter {
		t.Errorf("counter %d, %v; want %d", n, err, session(t, alice, bob).Info().Counter)
	}
}

// What a message changes is small. In one chain it is the head and, while chunks come in, those; the post-quantum ratchet makes a step now
// and then, and hardly any where hundreds of messages have no answer.
func TestChangesAreSmall(t *testing.T) {
	const steady, most = 1_536, 4_096
	alice, bob := meet(t)
	for _, d := range []struct {
		name     string
		from, to *ratchettest.Party
	}{{"the initiator talks", alice, bob}, {"the responder talks", bob, alice}} {
		s, r := session(t, d.from, d.to), session(t, d.to, d.from)
		var sum, steps, intakes int
		for i := range 500 {
			store := &plain{}
			m, err := s.Encrypt([]byte("text"), ratchettest.Day, store.save)
			if err != nil {
				t.Fatal(err)
			}
			if store.put > steady && i > 0 || len(store.parts) != 1 && i > 0 {
				t.Errorf("%s: encrypting message %d puts %d parts, %d bytes", d.name, i, len(store.parts), store.put)
			}
			sum += store.put
			store = &plain{}
			if _, err := r.Decrypt(m, nil, store.save); err != nil {
				t.Fatal(err)
			}
			sum += store.put
			switch ids := slices.Sorted(maps.Keys(store.parts)); {
			case len(ids) == 1: // the head
			case len(ids) == 2 && ids[1]%8 == 5 && store.put < most: // and the intake
				intakes++
			default:
				steps++
			}
			if store.put > most || store.put > steady && i > 100 {
				t.Errorf("%s: decrypting message %d puts %d bytes", d.name, i, store.put)
			}
		}
		t.Logf("%s: %d bytes put a message, %d messages with a chunk, %d with another step", d.name, sum/1000, intakes, steps)
		if sum/1000 > steady || steps > 3 {
			t.Errorf("%s: %d bytes, %d steps", d.name, sum/1000, steps)
		}
	}
}

// Over a long dialogue with a new ratchet key each time, and many post-quantum epochs: what is put and how large the record is.
func TestRecordStaysSmall(t *testing.T) {
	alice, bob := meet(t)
	var put, whole, changes int
	s, store := session(t, bob, alice), &plain{}
	count := func() { put, whole, changes = put+store.put, max(whole, store.size()), changes+1 }
	for range 400 {
		for range 2 {
			if _, err := s.Decrypt(send(t, alice, bob, "a"), nil, store.save); err != nil {
				t.Fatal(err)
			}
			count()
		}
		m, err := s.Encrypt([]byte("b"), ratchettest.Day, store.save)
		if err != nil {
			t.Fatal(err)
		}
		count()
		read(t, bob, alice, m, "b")
	}
	t.Logf("%d bytes put a message in the mean, in %d epochs; the record has at most %d", put/changes, s.Info().Epoch, whole)
	if put/changes > 1_536 || whole > 6_000 {
		t.Errorf("%d bytes put a message, the record has up to %d", put/changes, whole)
	}
}
