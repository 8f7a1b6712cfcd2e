package ratchet

import "coldframe/internal/fault"

// Retire ends sending in every session that there is with the peer, and keeps the newest archived ones of them: Encrypt is fault.Stale until the
// peer has answered with a new ratchet key, or Start has begun a session. What the peer sent still opens. It is for a record that is taken up
// again after another one was in use for a while, which may have used keys of the same chains. It returns once save has stored it. Errors:
// fault.NotFound without a session; fault.Conflict after an error of save; that error.
func (s *Session) Retire(archived int, save Save) error {
	in := s.in
	if err := in.usable(); err != nil {
		return err
	}
	if in.current == nil || in.current.unsent() {
		return fault.New(fault.NotFound, "there is no session with this peer")
	}
	kept := in.archived[:min(len(in.archived), archived)]
	for _, a := range kept {
		a.sending, a.stored = usedUp(), false
	}
	next := *in.current
	next.sending, in.fresh = usedUp(), true
	return in.commit(&next, kept, nil, nil, save)
}

// usedUp is a chain that has no key any more.
func usedUp() chain { return chain{index: lastCounter} }
