package spqr

import (
	"io"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet/internal/erasure"
	"coldframe/ratchet/internal/mlkem768"
)

// kind is a state of the machine, in the order of section 7.7. The E states are those of the side that owns the epoch's key, the C
// states those of the side that answers with a ciphertext.
type kind uint8

const (
	keysUnsampled   kind = iota // E0
	keysSampled                 // E1: the header is being sent
	headerSent                  // E2: the vector is being sent, c1 comes in
	ct1Received                 // E3: the vector is being sent
	ct2Receiving                // E4: c2 comes in
	noHeader                    // C0: the header comes in
	headerReceived              // C1
	ct1Sampled                  // C2: c1 is being sent, the vector comes in
	vectorReceived              // C3: c1 is being sent
	ct1Acknowledged             // C4: the vector comes in
	ct2Sampled                  // C5: c2 is being sent
	kindEnd
)

// ownsKey reports whether this is an E state.
func (k kind) ownsKey() bool { return k < noHeader }

// Sizes in bytes of what a machine holds (section 7.3) and of the streams that have a MAC at their end (section 7.4).
const (
	seedSize   = mlkem768.SeedSize
	headerSize = mlkem768.HeaderSize
	vectorSize = mlkem768.VectorSize
	c1Size     = mlkem768.C1Size
	c2Size     = mlkem768.C2Size
	randomSize = mlkem768.MSize

	headerStream = headerSize + macSize
	c2Stream     = c2Size + macSize
)

// traits are what a state sends, takes in and holds; sizes are in bytes.
type traits struct {
	sends          payload
	stream, intake int
	seed           int
	header, m      int
	c1, c2         int
}

var traitsOf = [kindEnd]traits{
	keysUnsampled:   {},
	keysSampled:     {sends: payloadHeader, stream: headerStream, seed: seedSize},
	headerSent:      {sends: payloadVector, stream: vectorSize, seed: seedSize, intake: c1Size},
	ct1Received:     {sends: payloadVectorAck, stream: vectorSize, seed: seedSize, c1: c1Size},
	ct2Receiving:    {sends: payloadAck, seed: seedSize, c1: c1Size, intake: c2Stream},
	noHeader:        {intake: headerStream},
	headerReceived:  {header: headerSize},
	ct1Sampled:      {sends: payloadC1, stream: c1Size, header: headerSize, m: randomSize, intake: vectorSize},
	vectorReceived:  {sends: payloadC1, stream: c1Size, c2: c2Size},
	ct1Acknowledged: {c1: c1Size, header: headerSize, m: randomSize, intake: vectorSize},
	ct2Sampled:      {sends: payloadC2, stream: c2Stream},
}

// machine is what changes at a transition only. It is never written once it is in a State. c1 and c2 are nil where traits say 0, the
// arrays are zero.
type machine struct {
	kind   kind
	epoch  uint64
	auth   authenticator
	stream *erasure.Encoder // what is being sent in chunks, nil if nothing is
	vector *erasure.Encoder // in keysSampled what is sent next, nil if the State was stored since: it follows from the seed
	seed   [seedSize]byte   // d ‖ z of the epoch's key
	header [headerSize]byte // of the peer's key
	m      [randomSize]byte // randomness of the encapsulation, as secret as what it gives
	c1, c2 []byte
}

// key expands the seed, which is cheaper than to keep some 8 KiB for each session.
func (m *machine) key() *mlkem768.DecapsulationKey {
	k, err := mlkem768.FromSeed(m.seed[:])
	if err != nil {
		panic("spqr: " + err.Error())
	}
	return k
}

func (m *machine) wipe() {
	m.auth = authenticator{}
	secret.Wipe(m.seed[:])
	secret.Wipe(m.m[:])
}

// enter makes m the machine. What comes in starts anew, but for ct1Acknowledged, which goes on with the chunks of ct1Sampled; what goes
// out starts anew if it is another stream.
func (s *State) enter(m machine) {
	if m.stream != s.machine.stream {
		s.nextChunk = 0
	}
	switch size := traitsOf[m.kind].intake; {
	case size == 0:
		s.intake = erasure.Decoder{}
	case m.kind != ct1Acknowledged:
		s.intake = erasure.NewDecoder(size)
	}
	s.machine = &m
}

// produce is the sending half of section 7.7: the next header, still without the number of its key.
func (s *State) produce(rand io.Reader) header {
	switch s.machine.kind {
	case keysUnsampled:
		s.sampleKeys(rand)
	case headerReceived:
		s.encapsulate(rand)
	}
	m := s.machine
	h := header{epoch: m.epoch, payload: traitsOf[m.kind].sends}
	if m.stream != nil {
		h.chunk, h.data = s.nextChunk, m.stream.Chunk(s.nextChunk)
		s.nextChunk++ // wraps after 65535
	}
	return h
}

func (s *State) sampleKeys(rand io.Reader) {
	m := s.machine
	k := mlkem768.Generate(rand)
	h := k.Header()
	mac := m.auth.macHeader(m.epoch, h[:])
	next := machine{kind: keysSampled, epoch: m.epoch, auth: m.auth, stream: erasure.NewEncoder(append(h[:], mac[:]...))}
	next.vector = vectorOf(k)
	copy(next.seed[:], k.Seed())
	k.Wipe()
	s.enter(next)
}

// encapsulate is the first half of the encapsulation. The epoch's secret is known from here on.
func (s *State) encapsulate(rand io.Reader) {
	m := s.machine
	next := machine{kind: ct1Sampled, epoch: m.epoch, header: m.header}
	if _, err := io.ReadFull(rand, next.m[:]); err != nil {
		panic("spqr: no random bytes: " + err.Error())
	}
	c1, shared := mlkem768.EncapsulateFirst(&next.header, &next.m)
	next.stream = erasure.NewEncoder(c1[:])
	next.auth = s.endExchange(&shared)
	s.enter(next)
}

// endExchange takes the secret of the KEM into the chain and returns the authenticator after it.
func (s *State) endExchange(shared *[32]byte) authenticator {
	m := s.machine
	key := epochSecret(m.epoch, shared)
	s.chain.addEpoch(&key)
	auth := m.auth.update(m.epoch, &key)
	secret.Wipe(key[:])
	secret.Wipe(shared[:])
	return auth
}

// consume is the receiving half of section 7.7. After an error the State is of no use.
func (s *State) consume(h *header) error {
	m := s.machine
	switch {
	case h.epoch < m.epoch:
		return nil
	case h.epoch == m.epoch && m.kind.ownsKey():
		return s.consumeAnswer(h)
	case h.epoch == m.epoch:
		return s.consumeKey(h)
	case m.kind == ct2Sampled && h.epoch == m.epoch+1:
		s.enter(machine{kind: keysUnsampled, epoch: h.epoch, auth: m.auth})
		return nil
	}
	return fault.New(fault.NotAuthentic, "post-quantum header of an epoch to come")
}

// gather takes a chunk in and returns the stream once it is whole, nil before.
func (s *State) gather(h *header) []byte {
	s.intake = s.intake.Add(h.chunk, &h.data)
	if !s.intake.Complete() {
		return nil
	}
	return s.intake.Data()
}

// consumeAnswer is consume in the E states.
func (s *State) consumeAnswer(h *header) error {
	m := s.machine
	switch {
	case m.kind == keysSampled && h.payload == payloadC1:
		s.sendVector()
		s.gather(h)
	case m.kind == headerSent && h.payload == payloadC1:
		if c1 := s.gather(h); c1 != nil {
			s.enter(machine{kind: ct1Received, epoch: m.epoch, auth: m.auth, seed: m.seed, stream: m.stream, c1: c1})
		}
	case m.kind == ct1Received && h.payload == payloadC2:
		s.enter(machine{kind: ct2Receiving, epoch: m.epoch, auth: m.auth, seed: m.seed, c1: m.c1})
		s.gather(h)
	case m.kind == ct2Receiving && h.payload == payloadC2:
		if data := s.gather(h); data != nil {
			return s.decapsulate(data[:c2Size], data[c2Size:])
		}
	}
	return nil
}

func (s *State) sendVector() {
	m := s.machine
	vector := m.vector
	if vector == nil {
		k := m.key()
		defer k.Wipe()
		vector = vectorOf(k)
	}
	s.enter(machine{kind: headerSent, epoch: m.epoch, auth: m.auth, seed: m.seed, stream: vector})
}

func vectorOf(k *mlkem768.DecapsulationKey) *erasure.Encoder {
	vector := k.Vector()
	return erasure.NewEncoder(vector[:])
}

// decapsulate ends the epoch of the side that owns its key.
func (s *State) decapsulate(c2, mac []byte) error {
	m := s.machine
	k := m.key()
	defer k.Wipe()
	shared, err := k.Decapsulate(m.c1, c2)
	if err != nil {
		return fault.Wrap(fault.NotAuthentic, err, "post-quantum ciphertext")
	}
	auth := s.endExchange(&shared)
	if err := checkMAC(auth.macCiphertext(m.epoch, m.c1, c2), mac); err != nil {
		return err
	}
	s.enter(machine{kind: noHeader, epoch: m.epoch + 1, auth: auth})
	return nil
}

// consumeKey is consume in the C states.
func (s *State) consumeKey(h *header) error {
	m := s.machine
	vector := h.payload == payloadVector || h.payload == payloadVectorAck
	ack := h.payload == payloadAck || h.payload == payloadVectorAck
	switch {
	case m.kind == noHeader && h.payload == payloadHeader:
		if data := s.gather(h); data != nil {
			return s.acceptHeader(data[:headerSize], data[headerSize:])
		}
	case m.kind == ct1Sampled && vector:
		if data := s.gather(h); data != nil {
			return s.acceptVector((*[vectorSize]byte)(data), m.stream.Data(), ack)
		}
		if ack {
			s.enter(machine{kind: ct1Acknowledged, epoch: m.epoch, auth: m.auth, header: m.header, m: m.m, c1: m.stream.Data()})
		}
	case m.kind == vectorReceived && ack:
		s.sendC2(m.stream.Data(), m.c2)
	case m.kind == ct1Acknowledged && vector:
		if data := s.gather(h); data != nil {
			return s.acceptVector((*[vectorSize]byte)(data), m.c1, true)
		}
	}
	return nil
}

func (s *State) acceptHeader(data, mac []byte) error {
	m := s.machine
	if err := checkMAC(m.auth.macHeader(m.epoch, data), mac); err != nil {
		return err
	}
	s.enter(machine{kind: headerReceived, epoch: m.epoch, auth: m.auth, header: [headerSize]byte(data)})
	return nil
}

// acceptVector is the second half of the encapsulation, done as soon as it can be so that m need not be kept. It refuses a vector that
// does not belong to the header.
func (s *State) acceptVector(vector *[vectorSize]byte, c1 []byte, ack bool) error {
	m := s.machine
	c2, err := mlkem768.EncapsulateSecond(&m.header, &m.m, vector)
	if err != nil {
		return fault.Wrap(fault.NotAuthentic, err, "post-quantum key")
	}
	if ack {
		s.sendC2(c1, c2[:])
		return nil
	}
	s.enter(machine{kind: vectorReceived, epoch: m.epoch, auth: m.auth, stream: m.stream, c2: c2[:]})
	return nil
}

func (s *State) sendC2(c1, c2 []byte) {
	m := s.machine
	mac := m.auth.macCiphertext(m.epoch, c1, c2)
	stream := erasure.NewEncoder(append(append(make([]byte, 0, c2Stream), c2...), mac[:]...))
	s.enter(machine{kind: ct2Sampled, epoch: m.epoch, auth: m.auth, stream: stream})
}
