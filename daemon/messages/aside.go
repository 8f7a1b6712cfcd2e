package messages

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

const (
	asidePrefix  = "messages/aside/"
	asideNames   = "messages/aside-name/"
	asideCounter = "messages/aside-next"

	// MaxAside is how many messages are kept that could not be read; the oldest goes first.
	MaxAside = 1_000
)

// Aside is a message that could not be read, or is of a kind that nobody here knows.
type Aside struct {
	Number uint64 // names it on this device
	Sender string
	Kind   string // "" if it was not read so far
	Code   fault.Code
	Time   time.Time
	Body   []byte // as it came, or as it was decrypted; empty if it waits at the coordinator for an agent that knows the kind
}

// aside is a message that was set aside, as it is stored, sealed.
type aside struct {
	_      struct{} `cbor:",toarray"`
	Name   string   // of the blob of its body
	Sender string
	Kind   string
	Code   string
	Time   int64
	Body   []byte
}

func asideOf(e Envelope, name string, cause error) aside {
	return aside{Name: name, Sender: e.Sender, Code: string(fault.CodeOf(cause)), Body: e.Body}
}

func asideKey(number int64) string { return fmt.Sprintf("%s%016x", asidePrefix, number) }

// setAside keeps a message that cannot be read, once however often it comes.
func (m *Messages) setAside(a aside) error {
	if a.Time == 0 {
		a.Time = m.Now().Unix()
	}
	if a.Body == nil {
		a.Body = []byte{}
	}
	again := false
	err := m.DB.Update(func(tx *kv.Tx) error {
		if _, err := tx.Get(asideNames + a.Name); !errors.Is(err, fault.NotFound) {
			again = true
			return err
		}
		number, err := count(tx, asideCounter, 1)
		if err != nil {
			return err
		}
		b, err := signed.Marshal(a)
		if err != nil {
			return err
		}
		key := asideKey(number)
		sealed, err := m.sealLocal(key, b)
		if err != nil {
			return err
		}
		err = errors.Join(tx.Set(key, sealed), tx.Set(asideNames+a.Name, []byte(key)))
		return errors.Join(err, m.dropAside(tx, asideKey(max(0, number-MaxAside)))) // there is none of number 0
	})
	m.step("aside")
	if err == nil && !again {
		m.Event(Event{What: SetAside, Peer: a.Sender, Code: fault.Code(a.Code)})
	}
	return err
}

func (m *Messages) openAside(key string, sealed []byte) (a aside, err error) {
	b, err := m.openLocal(key, sealed)
	if err != nil {
		return a, err
	}
	return a, signed.Unmarshal(b, &a)
}

// dropAside removes one, if it is there.
func (m *Messages) dropAside(tx *kv.Tx, key string) error {
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
	return errors.Join(tx.Delete(asideNames+a.Name), tx.Delete(key))
}

// notAside removes the one with this name, if it is there: it was read after all.
func (m *Messages) notAside(tx *kv.Tx, name string) error {
	key, err := tx.Get(asideNames + name)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return errors.Join(err, m.dropAside(tx, string(key)))
}

// Asides returns what was set aside, oldest first.
func (m *Messages) Asides() (list []Aside, err error) {
	err = m.DB.View(func(tx *kv.Tx) error {
		list = nil
		return tx.Scan(asidePrefix, func(key string, sealed []byte) error {
			a, err := m.openAside(key, sealed)
			if err != nil {
				return err
			}
			number, err := hex.DecodeString(strings.TrimPrefix(key, asidePrefix))
			if err != nil || len(number) != 8 {
				return fault.New(fault.NotAuthentic, "not a record of a message that was set aside")
			}
			out := Aside{Sender: a.Sender, Kind: a.Kind, Code: fault.Code(a.Code), Time: time.Unix(a.Time, 0).UTC(), Body: a.Body}
			for _, b := range number {
				out.Number = out.Number<<8 | uint64(b)
			}
			list = append(list, out)
			return nil
		})
	})
	return list, err
}

// Forget removes one that was set aside. fault.NotFound: it is not there.
func (m *Messages) Forget(number uint64) error {
	return m.DB.Update(func(tx *kv.Tx) error {
		key := asideKey(int64(number))
		if _, err := tx.Get(key); err != nil {
			return err
		}
		return m.dropAside(tx, key)
	})
}
