package membership

import (
	"bytes"
	"context"
	"slices"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// What a coordinator that is restored from an older state lost of the list is put back by a machine that has it: so some links are kept for
// longer than they are needed to follow the list, and the wraps record of the newest one.
const (
	maxHistory      = 64      // links
	maxHistoryBytes = 1 << 20 // of them
	historyVersion  = 1
)

// history is what is kept for that, as deterministic CBOR.
type history struct {
	_        struct{} `cbor:",toarray"`
	Version  uint64
	Sequence uint64   // of the newest link; 0: there is none
	Links    [][]byte // the newest is the last
	Wraps    []byte   // wraps record of the newest link; empty: it was not read
}

// parseHistory reads what is kept; nothing is a history of no links.
func parseHistory(b []byte) (h history, err error) {
	if len(b) == 0 {
		return history{Version: historyVersion, Links: [][]byte{}, Wraps: []byte{}}, nil
	}
	if err := signed.Unmarshal(b, &h); err != nil {
		return h, err
	}
	again, err := signed.Marshal(h)
	if err != nil || !bytes.Equal(again, b) || h.Version != historyVersion || uint64(len(h.Links)) > h.Sequence || len(h.Links) > maxHistory {
		return h, fault.New(fault.NotAuthentic, "what was kept of older device lists is not in order")
	}
	return h, nil
}

// link returns the link with a number; nil: it is not kept.
func (h *history) link(sequence uint64) []byte {
	if sequence > h.Sequence || h.Sequence-sequence >= uint64(len(h.Links)) {
		return nil
	}
	return h.Links[uint64(len(h.Links))-1-(h.Sequence-sequence)]
}

// add adds links that end at sequence. Those that do not go on where the history ends take its place.
func (h *history) add(sequence uint64, links [][]byte) {
	first := sequence + 1 - uint64(len(links))
	switch known := h.link(first); {
	case len(h.Links) > 0 && first == h.Sequence+1:
		h.Links = append(h.Links, links...)
	case known != nil && bytes.Equal(known, links[0]):
		h.Links = append(h.Links[:uint64(len(h.Links))-1-(h.Sequence-first)], links...)
	default:
		h.Links = slices.Clone(links)
	}
	h.Sequence = sequence
	size := 0
	for _, l := range h.Links {
		size += len(l)
	}
	for len(h.Links) > 1 && (len(h.Links) > maxHistory || size > maxHistoryBytes) {
		size -= len(h.Links[0])
		h.Links = h.Links[1:]
	}
}

// remember keeps links for later that end with the newest of a list. wraps is the record of the newest; nil: it is not known yet. What goes wrong
// is not the list's failure.
func (m *Member) remember(list *devices.List, links [][]byte, wraps []byte) {
	if m.o.History == nil {
		return
	}
	err := m.changeHistory(func(h *history) {
		if h.link(list.Sequence) == nil || signed.Hash(h.link(list.Sequence)) != [32]byte(list.Hash) {
			h.Wraps = []byte{}
		}
		h.add(list.Sequence, links)
		if wraps != nil {
			h.Wraps = wraps
		}
	})
	if err != nil {
		m.minor = err
	}
}

func (m *Member) changeHistory(change func(h *history)) error {
	before, err := m.o.History.Load()
	if err != nil {
		return err
	}
	h, err := parseHistory(before)
	if err != nil { // nothing but what it is for depends on it
		h, _ = parseHistory(nil) //nolint:errcheck // nothing is in order
	}
	change(&h)
	b, err := signed.Marshal(h)
	if err != nil || bytes.Equal(b, before) {
		return err
	}
	return m.o.History.Save(b)
}

// PutBack adds the links that this machine knows and a coordinator that was restored from an older state does not have any more, as they
// were, with the wraps record of the newest, and returns how many. fault.Forked: the coordinator has another list; it stays, as after any other fork.
// fault.RolledBack: this machine does not have all that is missing; another one may.
func (m *Member) PutBack(ctx context.Context) (n int, err error) {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if m.forked {
		return 0, errForked
	}
	if m.list == nil || m.o.History == nil {
		return 0, nil
	}
	kept, err := m.o.History.Load()
	if err != nil {
		return 0, err
	}
	h, err := parseHistory(kept)
	if err != nil {
		return 0, err
	}
	there, err := m.o.Links.After(ctx, 0)
	if err != nil {
		return 0, err
	}
	if err := m.isEarlier(there, &h); err != nil {
		return 0, err
	}
	if err := m.putBackWraps(ctx, there, h.Wraps); err != nil {
		return 0, err
	}
	for sequence := uint64(len(there)) + 1; sequence <= m.list.Sequence; sequence++ {
		if err := m.o.Links.Add(ctx, h.link(sequence), sequence); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// isEarlier wants links of the coordinator to be an earlier state of the list, or a later one, and what is missing to be in the history.
func (m *Member) isEarlier(there [][]byte, h *history) error {
	last := min(uint64(len(there)), m.list.Sequence)
	var known []byte
	if h.Sequence == m.list.Sequence && signed.Hash(h.link(h.Sequence)) == [32]byte(m.list.Hash) {
		known = h.link(last)
	}
	hash, ok := m.hashAt(last)
	if known != nil {
		hash, ok = signed.Hash(known), true
	}
	if last > 0 && ok && signed.Hash(there[last-1]) != [32]byte(hash) {
		return errForked
	}
	if last < m.list.Sequence && (h.link(last+1) == nil || known == nil && last > 0 || h.Sequence != m.list.Sequence) {
		return fault.New(fault.RolledBack, "the coordinator lost links of the device list that this machine does not have")
	}
	return nil
}

// putBackWraps writes the wraps record of the newest link, if the coordinator does not have it. It does so before the link is there (docs/devices.md).
func (m *Member) putBackWraps(ctx context.Context, there [][]byte, wraps []byte) error {
	if uint64(len(there)) > m.list.Sequence || len(wraps) == 0 {
		return nil
	}
	if _, err := devices.OpenRecord(m.list, m.o.Sealer, wraps); err != nil {
		return err
	}
	if _, err := m.read(ctx, m.list); err == nil || transient(err) {
		return err
	}
	return m.o.Records.Write(ctx, m.list.WrapsName(), wraps)
}
