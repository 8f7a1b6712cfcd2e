package state

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"runtime"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"coldframe/internal/fault"
)

// Cost is that of hashing a login proof with argon2id. A proof is no password: its owner's agent made it with a far dearer argon2id.
type Cost struct {
	Time      uint32 `cbor:"1,keyasint"`
	MemoryKiB uint32 `cbor:"2,keyasint"`
	Threads   uint8  `cbor:"3,keyasint"`
}

// DefaultCost is the second choice of RFC 9106's successors for servers (OWASP): 19 MiB, two passes.
var DefaultCost = Cost{Time: 2, MemoryKiB: 19 << 10, Threads: 1}

// ProofSize is the length of a login proof in bytes.
const ProofSize = 32

// waitingProofs is how many may wait for their hash, beyond those in work.
const waitingProofs = 64

// proofHash is what is kept of a login proof.
type proofHash struct {
	Cost Cost   `cbor:"1,keyasint"`
	Salt []byte `cbor:"2,keyasint"`
	Hash []byte `cbor:"3,keyasint"`
}

func (h proofHash) equal(o proofHash) bool {
	return string(h.Hash) == string(o.Hash) && string(h.Salt) == string(o.Salt)
}

// proofs hashes login proofs, as many at once as there are processors.
type proofs struct {
	cost    Cost
	slots   chan struct{}
	waiting atomic.Int64
	nobody  proofHash // checked where there is no account, so that this takes as long
}

func newProofs(c Cost) *proofs {
	if c == (Cost{}) {
		c = DefaultCost
	}
	p := &proofs{cost: c, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	p.nobody = proofHash{Cost: c, Salt: random(16), Hash: random(32)}
	return p
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // ends the process instead of failing
	return b
}

// hash returns what to keep of a proof.
func (p *proofs) hash(ctx context.Context, proof []byte) (proofHash, error) {
	h := proofHash{Cost: p.cost, Salt: random(16)}
	var err error
	h.Hash, err = p.run(ctx, h, proof)
	return h, err
}

// check reports whether a proof is the one of h, in constant time.
func (p *proofs) check(ctx context.Context, h proofHash, proof []byte) (bool, error) {
	got, err := p.run(ctx, h, proof)
	return err == nil && subtle.ConstantTimeCompare(got, h.Hash) == 1, err
}

func (p *proofs) run(ctx context.Context, h proofHash, proof []byte) ([]byte, error) {
	if len(proof) != ProofSize {
		return nil, fault.New(fault.InvalidRequest, "a login proof has %d bytes", ProofSize)
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > waitingProofs+int64(cap(p.slots)) {
		return nil, fault.New(fault.Busy, "too many logins at once")
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
		return argon2.IDKey(proof, h.Salt, h.Cost.Time, h.Cost.MemoryKiB, h.Cost.Threads, 32), nil
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the request ended while it waited")
	}
}
