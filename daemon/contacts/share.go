package contacts

import (
	"errors"
	"strings"
	"sync"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// senders is who sent the secrets of the vault: read when it may be that one contact has filled their share, and followed from then on.
type senders struct {
	mu sync.Mutex
	of map[string]string // by the id of the item; of own ones ""
}

// share refuses one more secret of a contact than are kept of one: else a single one could use up the room of all.
func (b *Book) share(tx *keystore.Tx, from string) error {
	ids, err := b.o.Vault.List(kindSecretItem)
	if err != nil || len(ids) < MaxFromOne {
		return err
	}
	b.senders.mu.Lock()
	defer b.senders.mu.Unlock()
	n := 0
	known := make(map[string]string, len(ids))
	for _, id := range ids {
		who, there := b.senders.of[id]
		if !there {
			if who, err = senderOf(tx, id); err != nil {
				return err
			}
		}
		if known[id] = who; who == from {
			n++
		}
	}
	if b.senders.of = known; n >= MaxFromOne {
		return &Rejection{fault.New(fault.TooLarge, "at most %d secrets of one contact are kept", MaxFromOne)}
	}
	return nil
}

// senderOf returns who sent the secret of an item.
func senderOf(tx *keystore.Tx, id string) (string, error) {
	s, err := getSecret(tx, strings.TrimPrefix(id, kindSecretItem+"/"))
	clear(s.Body)
	if errors.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil || s.State != SecretReceived {
		return "", err
	}
	return s.From, nil
}
