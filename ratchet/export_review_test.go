package ratchet

// Passed returns how many seeds, and post-quantum keys, are passed over for a message that no session opens.
func (s *Session) Passed(m Message) (seeds, keys uint32) {
	inner := innerOf(m)
	current, archived := newEffort(), newEffort()
	_, err := s.in.search(&inner, &current, &archived, func(Change) error { panic("a forged message is read") })
	if err == nil {
		panic("no error")
	}
	full := newEffort()
	return 2*full.seeds - current.seeds - archived.seeds, 2*full.keys - current.keys - archived.keys
}
