package spqr

import (
	"bytes"
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/erasure"
)

// A State is stored in four parts, so that a message rewrites only what it changed. Each has one form for a State. Numbers are
// big-endian. How to read the others is said by the first.
//
//	lines    kind of the machine (1) ‖ epoch (8) ‖ direction (1) ‖ how far the send epoch is behind it (1) ‖ number of the next chunk (2) ‖
//	         next_root (32) ‖ for each epoch held, oldest first: the send line unless erased, the receive line; each ctr (4) ‖ next (32)
//	machine  kind ‖ epoch, as before; authenticator: root (32) ‖ mac (32); what traitsOf says: seed ‖ header ‖ m ‖ c1 ‖ c2 ‖ stream
//	intake   the decoder, or nothing
//	skipped  for each skipped key, ascending: lowest byte of the epoch (1) ‖ number (4) ‖ key (32)
//
// Which epochs are held follows from the first part, see restore.
const (
	storedLine    = 4 + 32
	storedKind    = 1 + 8
	storedHead    = storedKind + 1 + 1 + 2 + 32
	storedSkipped = 1 + 4 + 32

	// MaxLines, MaxMachine, MaxIntake and MaxSkipped are the longest the parts can be, in bytes.
	MaxLines   = storedHead + 5*storedLine
	MaxMachine = storedKind + 64 + seedSize + vectorSize + c1Size
	MaxIntake  = 3 + (vectorSize/erasure.ChunkSize-1)*(2+erasure.ChunkSize)
	MaxSkipped = maxSkipped * storedSkipped

	// maxStoredEpoch keeps what is computed from an epoch from running over.
	maxStoredEpoch = 1 << 62
)

// AppendLines appends the first part, which changes with every message: 117 to 225 bytes.
func (s *State) AppendLines(b []byte) []byte {
	c, m := &s.chain, s.machine
	b = append(m.appendKind(b), byte(c.direction), byte(m.epoch-c.sending))
	b = binary.BigEndian.AppendUint16(b, s.nextChunk)
	b = append(b, c.nextRoot[:]...)
	for epoch := c.oldest; epoch <= c.newest(); epoch++ {
		lines := c.at(epoch)
		if epoch >= c.sending {
			b = lines.send.appendTo(b)
		}
		b = lines.receive.appendTo(b)
	}
	return b
}

func (m *machine) appendKind(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(m.kind)), m.epoch)
}

func (l *line) appendTo(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, l.ctr), l.next[:]...)
}

// AppendMachine appends the second part, which changes at transitions of the machine: 73 to 2,249 bytes.
func (s *State) AppendMachine(b []byte) []byte {
	m := s.machine
	t := &traitsOf[m.kind]
	b = append(append(m.appendKind(b), m.auth.root[:]...), m.auth.mac[:]...)
	b = append(append(append(b, m.seed[:t.seed]...), m.header[:t.header]...), m.m[:t.m]...)
	b = append(append(b, m.c1...), m.c2...)
	if m.stream != nil {
		b = append(b, m.stream.Data()...)
	}
	return b
}

// AppendIntake appends the third part, which changes when a chunk comes in: nothing, or 3 bytes and 34 for each chunk.
func (s *State) AppendIntake(b []byte) []byte {
	if s.intake == (erasure.Decoder{}) {
		return b
	}
	return s.intake.AppendTo(b)
}

// AppendSkipped appends the fourth part, which changes when messages are overtaken and when they arrive: 37 bytes for each skipped key.
func (s *State) AppendSkipped(b []byte) []byte {
	for i := range s.chain.skipped {
		k := &s.chain.skipped[i]
		b = binary.BigEndian.AppendUint32(append(b, byte(k.epoch)), k.number)
		b = append(b, k.key[:]...)
	}
	return b
}

// SameMachine reports whether the second part of both is certainly the same. It is cheap.
func (s State) SameMachine(o State) bool { return s.machine == o.machine }

// SameIntake is SameMachine for the third part.
func (s State) SameIntake(o State) bool { return s.intake == o.intake }

// SameSkipped is SameMachine for the fourth part.
func (s State) SameSkipped(o State) bool { return s.chain.skipped.same(o.chain.skipped) }

// Parse reads the four parts. What the Append functions cannot have made of one State is NotAuthentic.
func Parse(lines, machine, intake, skipped []byte) (State, error) {
	var s State
	ok := s.parseLines(lines) && s.parseMachine(machine) && s.parseIntake(intake) && s.parseSkipped(skipped)
	if !ok {
		return State{}, fault.New(fault.NotAuthentic, "malformed post-quantum state")
	}
	return s, nil
}

func (s *State) parseLines(b []byte) bool {
	if len(b) < storedHead {
		return false
	}
	m, c := &machine{kind: kind(b[0]), epoch: binary.BigEndian.Uint64(b[1:])}, &s.chain
	s.machine, c.direction = m, Direction(b[9])
	if !c.restore(m, uint64(b[10])) {
		return false
	}
	s.nextChunk = binary.BigEndian.Uint16(b[11:])
	if s.nextChunk != 0 && traitsOf[m.kind].stream == 0 {
		return false
	}
	b = b[13:]
	b = b[copy(c.nextRoot[:], b):]
	for epoch := c.oldest; epoch <= c.newest(); epoch++ {
		lines := c.at(epoch)
		if epoch >= c.sending {
			b = lines.send.parse(b)
		}
		b = lines.receive.parse(b)
	}
	return b != nil && len(b) == 0
}

// restore says which epochs a chain holds beside such a machine: the answering side knows the machine's own epoch from its first chunk of
// c1 on, everyone those before, down to the one before the send epoch. The send epoch is the one before the machine's, or one less as long
// as nothing was sent in the machine's epoch.
func (c *chain) restore(m *machine, behind uint64) bool {
	if m.kind >= kindEnd || m.epoch == 0 || m.epoch > maxStoredEpoch || c.direction > B2A {
		return false
	}
	silent := m.epoch > 1 && (m.kind == keysUnsampled || m.kind == noHeader || m.kind == headerReceived)
	spoken := m.epoch == 1 || m.kind != keysUnsampled
	if behind != 1 && behind != 2 || behind == 1 && !spoken || behind == 2 && !silent {
		return false
	}
	if m.kind.ownsKey() != ((c.direction == A2B) == (m.epoch%2 == 1)) {
		return false
	}
	c.sending = m.epoch - behind
	c.oldest = max(c.sending, 1) - 1
	newest := m.epoch - 1
	if m.kind >= ct1Sampled {
		newest = m.epoch
	}
	c.held = uint8(newest - c.oldest + 1)
	return true
}

// parse returns what follows the line, nil if it is cut off.
func (l *line) parse(b []byte) []byte {
	if len(b) < storedLine {
		return nil
	}
	l.ctr, l.next = binary.BigEndian.Uint32(b), [32]byte(b[4:])
	return b[storedLine:]
}

func (s *State) parseMachine(b []byte) bool {
	m := s.machine
	t := &traitsOf[m.kind]
	if !bytes.HasPrefix(b, m.appendKind(nil)) {
		return false
	}
	b = b[storedKind:]
	if len(b) != len(m.auth.root)+len(m.auth.mac)+t.seed+t.header+t.m+t.c1+t.c2+t.stream {
		return false
	}
	for _, field := range [][]byte{m.auth.root[:], m.auth.mac[:], m.seed[:t.seed], m.header[:t.header], m.m[:t.m]} {
		b = b[copy(field, b):]
	}
	if t.c1 > 0 {
		m.c1 = bytes.Clone(b[:t.c1])
	}
	if t.c2 > 0 {
		m.c2 = bytes.Clone(b[t.c1 : t.c1+t.c2])
	}
	if t.stream > 0 {
		m.stream = erasure.NewEncoder(b[t.c1+t.c2:])
	}
	return true
}

// parseIntake asks for the size of the stream that the kind takes in, which is what the decoder's form begins with.
func (s *State) parseIntake(b []byte) bool {
	size := traitsOf[s.machine.kind].intake
	if size == 0 {
		return len(b) == 0
	}
	empty := erasure.NewDecoder(size).AppendTo(nil)
	d, rest, err := erasure.ParseDecoder(b)
	if err != nil || len(rest) > 0 || d.Complete() || !bytes.Equal(b[:2], empty[:2]) {
		return false
	}
	s.intake = d
	return true
}

// parseSkipped takes the keys that their lines can have left behind: from 1 and within the last 2,000 before ctr, strictly ascending.
func (s *State) parseSkipped(b []byte) bool {
	if len(b)%storedSkipped != 0 || len(b) > MaxSkipped {
		return false
	}
	c := &s.chain
	for ; len(b) > 0; b = b[storedSkipped:] {
		k := skippedKey{number: binary.BigEndian.Uint32(b[1:]), key: [32]byte(b[5:])}
		k.epoch = c.oldest + uint64(b[0]-byte(c.oldest)) // no more than three are held
		if k.epoch > c.newest() {
			return false
		}
		if ctr := c.at(k.epoch).receive.ctr; k.number == 0 || k.number >= ctr || ctr-k.number > maxSkipped {
			return false
		}
		if n := len(c.skipped); n > 0 && c.skipped[n-1].compare(k.epoch, k.number) >= 0 {
			return false
		}
		c.skipped = append(c.skipped, k)
	}
	return true
}
