package daemon

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// dropping lets the coordinator be gone for some operations.
func dropping(operations ...string) func(*coordinatortest.Exchange) {
	return func(e *coordinatortest.Exchange) {
		for _, o := range operations {
			if e.Operation == o {
				e.Drop()
			}
		}
	}
}

// stalling lets the coordinator hold an operation of somebody until it is let go, or the caller has gone; begun is closed at the first.
func stalling(t *testing.T, c *coordinatortest.Coordinator, operation, caller string) (begun chan struct{}, let func()) {
	begun, free := make(chan struct{}), make(chan struct{})
	var once, freed sync.Once
	let = func() { freed.Do(func() { close(free) }) }
	t.Cleanup(let)
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Operation != operation || e.Caller != caller {
			return
		}
		once.Do(func() { close(begun) })
		select {
		case <-free:
		case <-e.Context().Done():
			e.Drop()
		}
	})
	return begun, let
}

// twoPeople are contacts of one another.
func twoPeople(t *testing.T) (c *coordinatortest.Coordinator, ada, grace *running) {
	t.Helper()
	c = coordinatortest.New(t, coordinatortest.Options{})
	ada, grace = newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil)
	ada.add(grace)
	grace.add(ada)
	return c, ada, grace
}

// theSecret is the one that the agent sent.
func (r *running) theSecret() Secret {
	r.t.Helper()
	list, err := r.Secrets(r.t.Context())
	if err != nil || len(list) != 1 {
		r.t.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

// A secret that is removed while its message cannot be made is not sent when it could be; where the message was made it may have left.
func TestRemovedSecretIsNotSent(t *testing.T) {
	c, ada, grace := twoPeople(t)
	c.Hook(dropping("fetchPreKeys"))
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a try", func() bool { return ada.requests(c, "fetchPreKeys", grace.vault.UserID()) > 1 })
	if fate, err := ada.RemoveSecret(t.Context(), ada.theSecret().Ref); err != nil || fate != "cancelled" {
		t.Errorf("%s, %v", fate, err)
	}
	c.Hook(dropping("sendMessage"))
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a try", func() bool { return ada.requests(c, "sendMessage", "") > 0 })
	if fate, err := ada.RemoveSecret(t.Context(), ada.theSecret().Ref); err != nil || fate != "left" {
		t.Errorf("%s, %v", fate, err)
	}
	if queued, err := ada.session.sync.queuedSecrets(); err != nil || len(queued) > 0 {
		t.Errorf("%v are still to be cancelled, %v", queued, err)
	}
	c.Hook(nil)
	ada.mustTell(grace)
	grace.rounds(c)
	if n := grace.secretCount(); n != 1 {
		t.Errorf("%d secrets came, of which one was not removed", n)
	}
}

// A queued secret says why it does not leave: the coordinator is away, or whom it is for. One that left says nothing.
func TestQueuedSecretSaysWhy(t *testing.T) {
	c, ada, grace := twoPeople(t)
	becomes := func(state string, code fault.Code) {
		t.Helper()
		eventually(t, state+" "+string(code), func() bool {
			list, err := ada.Secrets(t.Context())
			if err != nil || len(list) == 0 || list[0].State != state || list[0].Delay != code {
				return false
			}
			one, err := ada.Secret(t.Context(), list[0].Ref)
			defer clear(one.Body)
			return err == nil && one.Delay == code
		})
	}
	c.Hook(dropping("fetchPreKeys"))
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	becomes("queued", fault.Unavailable)
	c.Hook(nil)
	becomes("sent", "")
	if err := grace.deleteAccount(c.URL, testPassword); err != nil {
		t.Fatal(err)
	}
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	becomes("queued", fault.NotFound)
}

// A contact who was told another vault is named, with whether they were compared, until a person forgets their word or they are none any more.
func TestFindingsAreContactsClaims(t *testing.T) {
	c, ada, grace := twoPeople(t)
	ada.mustTell(grace) // with the heads of ada's account
	grace.mustTell(ada)
	user := ada.vault.UserID()
	type wire struct {
		_        struct{} `cbor:",toarray"`
		Type, ID string
		Sequence uint64
		Hash     []byte
	}
	type said struct {
		_    struct{} `cbor:",toarray"`
		Head wire
		Time int64
	}
	lie := func() { // grace has heard of a vault with other contents under each number that ada told
		t.Helper()
		err := grace.db.Update(func(tx *kv.Tx) error {
			var list []said
			b, err := tx.Get("messages/said/" + user)
			if err == nil {
				err = signed.Unmarshal(b, &list)
			}
			for i := range list {
				list[i].Head.Hash = bytes.Repeat([]byte{0xee}, 32)
			}
			if err == nil {
				b, err = signed.Marshal(list)
			}
			if err != nil {
				return err
			}
			return tx.Set("messages/said/"+user, b)
		})
		if err != nil {
			t.Fatal(err)
		}
		grace.mustTell(ada)
	}
	of := func() (list []HeadFinding) {
		for _, f := range ada.session.sync.status().Findings {
			if f.Code == fault.Forked {
				list = append(list, f)
			}
		}
		return list
	}
	found := func() {
		t.Helper()
		for range 10 { // a message of ada's that comes in between tells grace what is so
			if lie(); len(of()) == 0 {
				ada.rounds(c)
			}
			if len(of()) > 0 {
				return
			}
		}
		t.Fatal("not found")
	}
	found()
	for _, f := range of() {
		if f.Contact != grace.vault.UserID() || f.Verified || f.Owner != "" {
			t.Errorf("%+v", f)
		}
	}
	ada.awaitEvents(EventHeads, 1)
	clear := func(object, password string) error {
		return ada.ClearFinding(t.Context(), ClearFindingRequest{Object: object, Contact: grace.vault.UserID(), Password: []byte(password)})
	}
	wantCode(t, "another password", clear("vault", "not this one"), fault.NotAuthentic)
	for _, f := range of() {
		if err := clear(f.Object, testPassword); err != nil {
			t.Fatal(err)
		}
	}
	if list := of(); len(list) > 0 {
		t.Errorf("after it was cleared: %+v", list)
	}
	wantCode(t, "again", clear("vault", testPassword), fault.NotFound)
	ada.awaitEvents(EventHeadsCleared, 1)
	found()
	if _, err := ada.BlockContact(t.Context(), grace.vault.UserID()); err != nil {
		t.Fatal(err)
	}
	ada.rounds(c)
	if list := of(); len(list) > 0 {
		t.Errorf("of who is no contact any more: %+v", list)
	}
}

// A session whose record was refused is listed until a person begins it anew, with the password.
func TestRefusedSessionIsBegunAnew(t *testing.T) {
	_, ada, grace := twoPeople(t)
	ada.mustTell(grace)
	id := grace.vault.UserID()
	for _, peer := range []string{id, ""} {
		key := "messages/fault/r-prekeys"
		if peer != "" {
			key = "messages/fault/r-" + peer
		}
		if err := ada.db.Update(func(tx *kv.Tx) error { return tx.Set(key, []byte(fault.RolledBack)) }); err != nil {
			t.Fatal(err)
		}
		if err := ada.Lock(t.Context()); err != nil { // an open session is not looked at again
			t.Fatal(err)
		}
		ada.unlock()
		if got := ada.session.sync.status().Refused; len(got) != 1 || got[0] != (SessionFault{peer, fault.RolledBack}) {
			t.Errorf("%+v", got)
		}
		if st, err := ada.Status(t.Context()); err != nil || !slices.ContainsFunc(st.Warnings, func(w string) bool { return strings.Contains(w, "coordinator show") }) {
			t.Errorf("%q, %v", st.Warnings, err)
		}
		wantCode(t, "another password", ada.RestartSession(t.Context(), peer, []byte("not this one")), fault.NotAuthentic)
		if err := ada.RestartSession(t.Context(), peer, []byte(testPassword)); err != nil {
			t.Fatal(err)
		}
		if got := ada.session.sync.status().Refused; len(got) > 0 {
			t.Errorf("%+v", got)
		}
		ada.becomes("online")
		ada.mustTell(grace)
		grace.mustTell(ada)
	}
	wantCode(t, "with nobody", ada.RestartSession(t.Context(), ada.vault.UserID(), []byte(testPassword)), fault.NotFound)
	ada.awaitEvents(EventSessionRestarted, 2)
}

// Neither a lock nor a call waits for a coordinator that stalls: a call about people ends when the account is locked, and one that lets
// messages go does not wait for the one that is being sent.
func TestStalledCoordinatorHoldsNoCall(t *testing.T) {
	c, ada, grace := twoPeople(t)
	number := ada.numbers(grace).Digits
	begun, let := stalling(t, c, "sendMessage", ada.vault.UserID())
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	<-begun
	verified := make(chan error, 1)
	go func() {
		verified <- second(ada.VerifyContact(t.Context(), grace.vault.UserID(), Comparison{Number: number}))
	}()
	select {
	case err := <-verified:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a call waits for a message that is being sent")
	}
	let()
	eventually(t, "the message", func() bool { return grace.secretCount() == 1 })

	begun, _ = stalling(t, c, "swapBlobs", ada.vault.UserID())
	renamed := make(chan error, 1)
	go func() { renamed <- second(ada.RenameContact(t.Context(), grace.vault.UserID(), "Grace")) }()
	<-begun
	since := time.Now()
	if err := ada.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(since); took >= drainTime {
		t.Errorf("the lock took %v", took)
	}
	wantCode(t, "the call", <-renamed, fault.Locked)
}
