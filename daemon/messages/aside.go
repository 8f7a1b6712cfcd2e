package messages

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

const (
	asidePrefix  = "messages/aside/"
	asideBodies  = "messages/aside-body/"
	asideNames   = "messages/aside-name/"
	asideSenders = "messages/aside-of/" // size of each body, by sender and number
	asideCounter = "messages/aside-next"

	// MaxAside is how many messages are kept that could not be read, and MaxAsideBytes how many bytes of theirs; the oldest goes first. Each
	// sender has a quarter of both.
	MaxAside      = 1_000
	MaxAsideBytes = 16 << 20

	asideShare = 4
)

// Aside is a message that could not be read, or is of a kind that nobody here knows.
type Aside struct {
	Number uint64 // names it on this device
	Sender string
	Kind   string // "" if it was not read so far
	Code   fault.Code
	Time   time.Time
	Size   int // bytes, as it came, or as it was decrypted; 0 if it waits at the coordinator for an agent that knows the kind
}

// aside is a message that was set aside, as it is stored, sealed; its body is sealed by itself.
type aside struct {
	_      struct{} `cbor:",toarray"`
	Name   string   // of the blob of its body
	Sender string
	Kind   string
	Code   string
	Time   int64
	Size   int

	body []byte
}

func asideOf(e Envelope, name string, cause error) aside {
	return aside{Name: name, Sender: e.Sender, Code: string(fault.CodeOf(cause)), body: e.Body}
}

func asideKey(prefix string, number uint64) string { return fmt.Sprintf("%s%016x", prefix, number) }

// setAside keeps a message that cannot be read, once however often it comes.
func (m *Messages) setAside(a aside) error {
	if a.Time == 0 {
		a.Time = m.config.Now().Unix()
	}
	a.Size = len(a.body)
	again := false
	err := m.config.DB.Update(func(tx *kv.Tx) error {
		if _, err := tx.Get(asideNames + a.Name); !errors.Is(err, fault.NotFound) {
			again = true
			return err
		}
		if err := m.putAside(tx, a); err != nil {
			return err
		}
		own := asideSenders + a.Sender + "/"
		return errors.Join(
			m.trimAsides(tx, own, MaxAside/asideShare, MaxAsideBytes/asideShare), m.trimAsides(tx, asideSenders, MaxAside, MaxAsideBytes),
		)
	})
	m.step("aside")
	if err == nil && !again {
		m.config.Event(Event{What: SetAside, Peer: a.Sender, Code: fault.Code(a.Code)})
	}
	return err
}

func (m *Messages) putAside(tx *kv.Tx, a aside) error {
	next, err := count(tx, asideCounter, 1)
	if err != nil {
		return err
	}
	number := uint64(next)
	b, err := signed.Marshal(a)
	if err != nil {
		return err
	}
	for prefix, plaintext := range map[string][]byte{asidePrefix: b, asideBodies: a.body} {
		key := asideKey(prefix, number)
		sealed, err := m.sealLocal(key, plaintext)
		if err != nil {
			return err
		}
		if err := tx.Set(key, sealed); err != nil {
			return err
		}
	}
	size := binary.BigEndian.AppendUint64(nil, uint64(a.Size))
	return errors.Join(
		tx.Set(asideNames+a.Name, []byte(asideKey("", number))), tx.Set(asideKey(asideSenders+a.Sender+"/", number), size),
	)
}

// trimAsides drops the oldest of those whose sizes are under a prefix until no more are left than that.
func (m *Messages) trimAsides(tx *kv.Tx, prefix string, most, mostBytes int) error {
	type one struct{ number, size uint64 }
	var list []one
	total := uint64(0)
	err := tx.Scan(prefix, func(key string, size []byte) error {
		number, err := asideNumber(key)
		if err == nil && len(size) == 8 {
			list = append(list, one{number, binary.BigEndian.Uint64(size)})
			total += binary.BigEndian.Uint64(size)
		}
		return err
	})
	slices.SortFunc(list, func(a, b one) int { return int(a.number) - int(b.number) })
	for err == nil && (len(list) > most || total > uint64(mostBytes)) {
		err = m.dropAside(tx, list[0].number)
		total -= list[0].size
		list = list[1:]
	}
	return err
}

// asideNumber returns the number at the end of a key.
func asideNumber(key string) (uint64, error) {
	b, err := hex.DecodeString(key[strings.LastIndex(key, "/")+1:])
	if err != nil || len(b) != 8 {
		return 0, fault.New(fault.NotAuthentic, "not a record of a message that was set aside")
	}
	return binary.BigEndian.Uint64(b), nil
}

func (m *Messages) openAside(key string, sealed []byte) (a aside, err error) {
	b, err := m.openLocal(key, sealed)
	if err != nil {
		return a, err
	}
	return a, signed.Unmarshal(b, &a)
}

// dropAside removes one, if it is there.
func (m *Messages) dropAside(tx *kv.Tx, number uint64) error {
	key := asideKey(asidePrefix, number)
	sealed, err := tx.Get(key)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := m.openAside(key, sealed)
	if err != nil {
		return err
	}
	return errors.Join(
		tx.Delete(asideNames+a.Name), tx.Delete(asideKey(asideSenders+a.Sender+"/", number)),
		tx.Delete(asideKey(asideBodies, number)), tx.Delete(key),
	)
}

// notAside removes the one with this name, if it is there: it was read after all.
func (m *Messages) notAside(tx *kv.Tx, name string) error {
	key, err := tx.Get(asideNames + name)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	number, err := asideNumber(string(key))
	if err != nil {
		return err
	}
	return m.dropAside(tx, number)
}

// Asides returns what was set aside, oldest first, without the bodies.
func (m *Messages) Asides() (list []Aside, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list = nil
		return tx.Scan(asidePrefix, func(key string, sealed []byte) error {
			a, err := m.openAside(key, sealed)
			if err != nil {
				return err
			}
			number, err := asideNumber(key)
			list = append(list, a.listed(number))
			return err
		})
	})
	return list, err
}

func (a *aside) listed(number uint64) Aside {
	return Aside{
		Number: number, Sender: a.Sender, Kind: a.Kind, Code: fault.Code(a.Code), Time: time.Unix(a.Time, 0).UTC(), Size: a.Size,
	}
}

// Forget removes one that was set aside. fault.NotFound: it is not there.
func (m *Messages) Forget(number uint64) error {
	return m.config.DB.Update(func(tx *kv.Tx) error {
		if _, err := tx.Get(asideKey(asidePrefix, number)); err != nil {
			return err
		}
		return m.dropAside(tx, number)
	})
}
