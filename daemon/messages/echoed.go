package messages

import (
	"time"

	"coldframe/internal/kv"
)

// Echo is a version of an object of our own that a peer was told, by whichever of the user's devices.
type Echo struct {
	Head
	Peer string
	Time time.Time // when it was echoed last
}

// Echoed returns what peers echoed of an object of our own: of each the newest versions, in order.
func (m *Messages) Echoed(typ, id string) (list []Echo, err error) {
	prefix := objectKey(echoPrefix, Head{Type: typ, ID: id})
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list = nil
		return tx.Scan(prefix, func(key string, b []byte) error {
			heard, err := readHeard(b)
			for _, h := range heard {
				head := Head{typ, id, h.Sequence, [hashSize]byte(h.Hash)}
				list = append(list, Echo{head, key[len(prefix):], time.Unix(h.Time, 0).UTC()})
			}
			return err
		})
	})
	return list, err
}
