package membership

import (
	"bytes"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// keptVersion is the version of the form of kept.
const keptVersion = 1

// maxKept is how many bytes of links are kept. Two epochs of some hundred links have far less. If there are more, only the newest is kept,
// and the former state key is not found again after a restart.
const maxKept = 8 << 20

// kept is what a machine remembers of the list, as deterministic CBOR: the links since the last of the former epoch, or, after everything
// was sealed again, the newest alone.
type kept struct {
	_        struct{} `cbor:",toarray"`
	Version  uint64
	Sequence uint64 // of the newest link; 0: there is no list
	Hash     devices.Hash
	Links    [][]byte // the newest is the last
	Forked   bool     // it was seen to branch
	Pending  []byte   // link that may be at the coordinator; empty: none
	Wraps    []byte   // its wraps record
}

// pending is an update that may be at the coordinator.
type pending struct {
	link, wraps []byte
	list        *devices.List // once it is taken
	taken       bool
}

// parseKept reads what a machine remembers; nothing is a kept of no list.
func parseKept(b []byte) (kept, error) {
	if len(b) == 0 {
		return kept{}, nil
	}
	var k kept
	if err := signed.Unmarshal(b, &k); err != nil {
		return kept{}, err
	}
	again, err := signed.Marshal(k)
	if err != nil || !bytes.Equal(again, b) || k.Version != keptVersion || (k.Sequence == 0) != (len(k.Links) == 0) ||
		len(k.Pending) == 0 && len(k.Wraps) > 0 {
		return kept{}, fault.New(fault.NotAuthentic, "what was kept of the device list is not in order")
	}
	return k, nil
}

// restore reads the Memory.
func (m *Member) restore() error {
	b, err := m.o.Memory.Load()
	if err != nil {
		return err
	}
	k, err := parseKept(b)
	if err != nil {
		return err
	}
	var list *devices.List
	if k.Sequence > 0 {
		if list, err = devices.RestoreList(m.owner, devices.Head{Sequence: k.Sequence, Hash: k.Hash}, k.Links); err != nil {
			return err
		}
	}
	p, err := m.restorePending(list, k)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list, m.links, m.forked, m.pending = list, k.Links, k.Forked, p
	return nil
}

func (m *Member) restorePending(list *devices.List, k kept) (*pending, error) {
	if len(k.Pending) == 0 {
		return nil, nil
	}
	p := &pending{link: k.Pending, wraps: k.Wraps}
	var err error
	if list == nil {
		p.list, err = devices.OpenList(m.owner, devices.Head{}, [][]byte{p.link})
	} else if p.list, err = list.Next(p.link); err != nil {
		p.list, err = list.Recovered(p.link)
	}
	return p, err
}

// save makes a state of affairs durable, and then the present one. The caller holds the turn.
func (m *Member) save(list *devices.List, links [][]byte, p *pending, forked bool) error {
	k := kept{Version: keptVersion, Links: links, Forked: forked}
	if k.Links == nil {
		k.Links = [][]byte{}
	}
	if list != nil {
		k.Sequence, k.Hash = list.Sequence, list.Hash
	}
	if p != nil {
		k.Pending, k.Wraps = p.link, p.wraps
	}
	b, err := signed.Marshal(k)
	if err == nil {
		err = m.o.Memory.Save(b)
	}
	if err != nil {
		return err
	}
	if m.list == nil || list == nil || list.Hash != m.list.Hash {
		m.record = nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list, m.links, m.pending, m.forked = list, links, p, forked
	return nil
}

// take takes over a list and its newest links, of which it keeps those that are needed.
func (m *Member) take(list *devices.List, links [][]byte, p *pending) error {
	m.remember(list, links, nil)
	first, size := list.Sequence+1-uint64(len(links)), 0
	former, ok := list.Former()
	if ok && former.Sequence > first {
		links = links[former.Sequence-first:]
	}
	for _, l := range links {
		size += len(l)
	}
	if !ok || size > maxKept {
		links = links[len(links)-1:]
	}
	return m.save(list, links, p, m.forked)
}
