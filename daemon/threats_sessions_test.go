package daemon

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// recordsOf answers readings of an agent's records of sessions with what lie makes of each blob, once the next swap of them was refused, so
// that the agent reads them anew.
func recordsOf(c *coordinatortest.Coordinator, a *running, peer string, lie func(b *coordinator.Blob)) {
	var mu sync.Mutex
	refused := false
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Caller != a.vault.UserID() || e.Operation != "readBlobs" && e.Operation != "swapBlobs" || !strings.Contains(string(e.Body), "r-"+peer) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if e.Operation == "swapBlobs" {
			e.Answer, refused = coordinatortest.Problem(http.StatusConflict, "conflict"), true
			return
		}
		var page coordinator.BlobPage
		if answer := e.Forward(); !refused || answer.Status != http.StatusOK || json.Unmarshal(answer.Body, &page) != nil {
			return
		}
		for i := range page.Blobs {
			if b := &page.Blobs[i]; b.Body != nil && strings.HasPrefix(b.Name, "r-"+peer) {
				lie(b)
			}
		}
		e.Answer = coordinatortest.JSON(http.StatusOK, page)
	})
}

// withBody makes a blob one of another body that fits all that the coordinator says of it.
func withBody(user string, b *coordinator.Blob, body []byte) {
	sum := sha256.Sum256(body)
	hash := coordinator.BlobHash(user, b.Name, uint64(b.Newest.Counter), [32]byte(b.Newest.Previous), [16]byte(b.Newest.Nonce), body) //nolint:gosec // a counter
	b.Body, b.Newest.BodyHash, b.Newest.Hash, b.Newest.Size = &body, sum[:], hash[:], int64(len(body))
}

// TestS01_S02_S03_RecordsOfSessions has the coordinator give an agent an older record of a session, that of another peer, and a damaged one:
// nothing leaves under it and nothing is opened with it, the person sees it, and other sessions go on.
func TestS01_S02_S03_RecordsOfSessions(t *testing.T) {
	for _, lie := range []struct {
		name string
		code fault.Code
		of   func(user string, older, other coordinator.Blob, b *coordinator.Blob)
	}{
		{"S01: older", fault.RolledBack, func(_ string, older, _ coordinator.Blob, b *coordinator.Blob) { *b = older }},
		{"S02: of another peer", fault.NotAuthentic, func(user string, _, other coordinator.Blob, b *coordinator.Blob) { withBody(user, b, *other.Body) }},
		{"S03: damaged", fault.NotAuthentic, func(user string, _, _ coordinator.Blob, b *coordinator.Blob) {
			body := slices.Clone(*b.Body)
			body[len(body)-1] ^= 1
			withBody(user, b, body)
		}},
	} {
		t.Run(lie.name, func(t *testing.T) {
			t.Parallel()
			c := coordinatortest.New(t, coordinatortest.Options{})
			ada, grace, carol := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil), newPersonAt(t, c, "carol@example.org", nil)
			for _, other := range []*running{grace, carol} {
				ada.add(other)
				other.add(ada)
				ada.mustTell(other)
			}
			user, peer := ada.vault.UserID(), grace.vault.UserID()
			older, other := ada.headOf(peer), ada.headOf(carol.vault.UserID())
			grace.mustTell(ada)
			ada.mustTell(grace)
			ada.settled()
			grace.settled()
			recordsOf(c, ada, peer, func(b *coordinator.Blob) {
				if b.Name == older.Name {
					lie.of(user, older, other, b)
				}
			})
			had, sent := ada.secretCount(), ada.requests(c, "sendMessage", peer)
			for _, talk := range []func() error{func() error { return ada.tell(grace, true) }, func() error { return grace.tell(ada, true) }} {
				if err := talk(); err != nil {
					t.Fatal(err)
				}
			}
			ada.awaitEvents(EventSessionFault, 1)
			if e := ada.lastEvent(EventSessionFault); e.Code != lie.code || e.Contact != peer {
				t.Errorf("event %+v, want %s", e, lie.code)
			}
			ada.mustTell(carol)
			carol.mustTell(ada)
			if n := ada.requests(c, "sendMessage", peer) - sent; n != 0 || ada.secretCount() != had+1 {
				t.Errorf("%d messages left, %d secrets came", n, ada.secretCount()-had-1)
			}
		})
	}
}

// headOf returns the head of the record of a session as the coordinator has it.
func (r *running) headOf(peer string) coordinator.Blob {
	r.t.Helper()
	client, err := r.session.client()
	if err != nil {
		r.t.Fatal(err)
	}
	page, err := client.ReadBlobs(r.t.Context(), coordinator.BlobRead{Names: &[]string{"r-" + peer + "-0"}, Bodies: new(true)})
	if err != nil || len(page.Blobs) != 1 {
		r.t.Fatal(page.Blobs, err)
	}
	return page.Blobs[0]
}

// lastEvent returns the newest event of a type.
func (r *running) lastEvent(typ string) (found Event) {
	r.t.Helper()
	for _, e := range r.logged(r.t) {
		if e.Type == typ {
			found = e
		}
	}
	return found
}

// TestS06_S11_S13_Mailbox has the coordinator hand every message of the mailbox out three times, as that of another contact, and the user's own
// ones as those of who they were for: what was sent is there once, from whom it was.
func TestS06_S11_S13_Mailbox(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, grace, carol := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil), newPersonAt(t, c, "carol@example.org", nil)
	for _, other := range []*running{grace, carol} {
		ada.add(other)
		other.add(ada)
		ada.mustTell(other)
		other.mustTell(ada)
	}
	l := mailboxLiar{other: map[string]string{grace.vault.UserID(): carol.vault.UserID(), carol.vault.UserID(): grace.vault.UserID()}}
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Caller == ada.vault.UserID() {
			l.lie(e)
		}
	})
	const n = 3
	for range n {
		ada.mustTell(grace)
		grace.mustTell(ada)
		carol.mustTell(ada)
	}
	c.Hook(nil)
	ada.rounds(c)
	from := map[string]int{}
	list, err := ada.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.State == "received" {
			from[s.From]++
		}
	}
	if want := n + 1; from[grace.vault.UserID()] != want || from[carol.vault.UserID()] != want {
		t.Errorf("secrets by sender: %v, want %d of each", from, n+1)
	}
}

// mailboxLiar hands every message out six times: as that of another contact, then three times as it is, then what the receiver sent last as from
// either. Its sequence numbers are each the coordinator's times ten and a digit.
type mailboxLiar struct {
	other map[string]string // contact for contact

	mu  sync.Mutex
	own []byte // the body of a message of the receiver's
}

func (l *mailboxLiar) lie(e *coordinatortest.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Operation {
	case "sendMessage":
		var m coordinator.OutgoingMessage
		if json.Unmarshal(e.Body, &m) == nil {
			l.own = m.Body
		}
	case "acknowledgeMessages":
		var list coordinator.Acknowledgements
		if json.Unmarshal(e.Body, &list) == nil {
			for i := range list.Messages {
				list.Messages[i].Sequence /= 10
			}
			list.Messages = slices.Compact(list.Messages) // the coordinator takes none twice
			e.Body, _ = json.Marshal(list)                // of what was JSON
		}
	case "listMessages":
		q, _ := url.ParseQuery(e.Query) // of the client's
		if after, err := strconv.Atoi(q.Get("after")); err == nil {
			q.Set("after", strconv.Itoa(after/10))
			e.Query = q.Encode()
		}
		var in coordinator.Inbox
		if a := e.Forward(); a.Status != http.StatusOK || json.Unmarshal(a.Body, &in) != nil {
			return
		}
		var out []coordinator.Message
		for _, m := range in.Messages {
			out = append(out, l.variants(m)...)
		}
		in.Messages = out
		e.Answer = coordinatortest.JSON(http.StatusOK, in)
	}
}

func (l *mailboxLiar) variants(m coordinator.Message) []coordinator.Message {
	sender := m.Sender
	out := []coordinator.Message{m, m, m, m}
	out[0].Sender, out[0].Id = l.other[sender], uuid.NewString()
	out[3].Id = uuid.NewString()
	for _, from := range []string{sender, l.other[sender]} {
		if l.own != nil {
			out = append(out, coordinator.Message{Body: l.own, Sender: from, Id: uuid.NewString(), Time: m.Time})
		}
	}
	for i := range out {
		out[i].Sequence = 10*m.Sequence + int64(i)
	}
	return out
}
