package ratchet

import "coldframe/internal/fault"

// Retire ends sending in every session that there is with the peer, for good, and keeps the newest archived ones of them: Encrypt is fault.Stale
// until Start has begun another. What the peer sent still opens. It is for a record that is taken up again after another one was in use for a
// while, which may have used keys of the same chains, and of the post-quantum ratchet. It returns once save has stored it. Errors: fault.NotFound
// without a session; fault.Conflict after an error of save; that error.
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
		a.sending, a.stored = retiredChain, false
	}
	next := *in.current
	next.sending, in.fresh = retiredChain, true
	return in.commit(&next, kept, nil, nil, save)
}

// retiredChain is the sending chain of a retired session: it has no key any more, and a new ratchet key of the peer gives it none.
var retiredChain = chain{index: lastCounter}
