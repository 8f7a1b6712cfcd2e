package contacts_test

import (
	"testing"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
)

// The rules for each state: whether anything may be sent, whether secrets may without more words, and whether what comes may be shown.
func TestRules(t *testing.T) {
	pinned, other, former := contacts.Pin{Identity: contacts.Key{1}, Signing: contacts.Key{9}}, contacts.Key{2}, contacts.Key{3}
	compared := contacts.Verification{Date: 1}
	changed := &contacts.Sighting{Pin: contacts.Pin{Identity: other}}
	forked := &contacts.Sighting{Pin: pinned, Mark: contacts.Mark{Sequence: 1}}
	for what, c := range map[string]struct {
		contact           contacts.Contact
		send, trust, show fault.Code
	}{
		"nobody":   {contacts.Contact{}, fault.NotFound, fault.NotFound, fault.NotFound},
		"asked":    {contacts.Contact{State: contacts.StateAsked}, fault.Forbidden, fault.Forbidden, fault.Forbidden},
		"blocked":  {contacts.Contact{State: contacts.StateBlocked, Verified: compared}, fault.Forbidden, fault.Forbidden, fault.Forbidden},
		"removed":  {contacts.Contact{State: contacts.StateRemoved, Verified: compared}, fault.NotFound, fault.NotFound, fault.NotFound},
		"accepted": {contacts.Contact{State: contacts.StateAccepted}, "", fault.UntrustedKey, ""},
		"verified": {contacts.Contact{State: contacts.StateAccepted, Verified: compared}, "", "", ""},
		"changed":  {contacts.Contact{State: contacts.StateChanged, Candidate: changed, Verified: compared}, fault.KeyChanged, fault.KeyChanged, fault.KeyChanged},
		"forked":   {contacts.Contact{State: contacts.StateChanged, Candidate: forked, Verified: compared}, fault.Forked, fault.Forked, fault.Forked},
		"unheard":  {contacts.Contact{State: "friend", Verified: compared}, fault.NotFound, fault.NotFound, fault.NotFound},
	} {
		c.contact.Pinned = pinned
		c.contact.History = []contacts.Former{{Pin: contacts.Pin{Identity: former}}}
		wants(t, what+", send", c.contact.MaySend(), c.send)
		wants(t, what+", trust", c.contact.MayTrust(), c.trust)
		wants(t, what+", show", c.contact.MayShow(pinned.Identity), c.show)
		wants(t, what+", show of a former identity", c.contact.MayShow(former), fault.Revoked)
		if c.show == "" {
			wants(t, what+", show of another identity", c.contact.MayShow(other), fault.KeyChanged)
		}
	}
}

// See never changes what it was given, and keeps the first candidate.
func TestSeeKeepsItsArgument(t *testing.T) {
	was := contacts.Contact{State: contacts.StateAccepted, Pinned: contacts.Pin{Identity: contacts.Key{1}}}
	first, err := was.See(contacts.Sighting{Pin: contacts.Pin{Identity: contacts.Key{2}}})
	wants(t, "first", err, fault.KeyChanged)
	if was.State != contacts.StateAccepted || was.Candidate != nil {
		t.Fatalf("%+v", was)
	}
	whole := contacts.Sighting{Pin: contacts.Pin{Identity: contacts.Key{2}, Signing: contacts.Key{5}, Since: 9}, Mark: contacts.Mark{Sequence: 4}}
	second, err := first.See(whole)
	wants(t, "the same with its signing key", err, fault.KeyChanged)
	if first.Candidate.Pin.Signing != (contacts.Key{}) || second.Candidate.Pin.Signing != (contacts.Key{5}) || second.Candidate.Pin.Since != 0 {
		t.Fatalf("%+v, %+v", first.Candidate, second.Candidate)
	}
	third, err := second.See(contacts.Sighting{Pin: contacts.Pin{Identity: contacts.Key{3}}})
	wants(t, "a third", err, fault.KeyChanged)
	if *third.Candidate != *second.Candidate {
		t.Fatalf("%+v", third.Candidate)
	}
	taken, err := third.TakeNew(contacts.Verification{Date: 11})
	wants(t, "take", err, "")
	if taken.Pinned != (contacts.Pin{Identity: contacts.Key{2}, Signing: contacts.Key{5}, Since: 11}) || third.Candidate.Pin.Since != 0 || taken.Mark.Sequence != 4 {
		t.Fatalf("%+v", taken)
	}
}
