package contacts

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// MessageFate is what became of the message of a secret that was removed.
type MessageFate string

// The fates.
const (
	MessageReceived  MessageFate = "received"  // it was one of a contact's
	MessageCancelled MessageFate = "cancelled" // it never leaves
	MessageLeft      MessageFate = "left"      // it was sent, or may have been
	MessageElsewhere MessageFate = "elsewhere" // another of the user's machines queued it, and cancels it if it has not left when that one learns
)

// RemoveSecret removes a secret from this user's vault, and the message that carries it from what is to be sent; fault.NotFound if there is
// none. The other side's copy stays.
func (b *Book) RemoveSecret(ctx context.Context, ref string) (fate MessageFate, err error) {
	if !refForm.MatchString(ref) {
		return "", errRef()
	}
	err = b.o.Vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		s, err := getSecret(tx, ref)
		if err != nil {
			return err
		}
		clear(s.Body)
		switch s.State {
		case SecretReceived:
			fate = MessageReceived
		case SecretSent:
			fate = MessageLeft
		default:
			fate = MessageElsewhere
			if err := b.cancel(tx, ref, func(f MessageFate) { fate = f }); err != nil {
				return err
			}
		}
		return tx.Delete(secretItem(ref))
	})
	return fate, err
}

// cancel has the message of a secret cancelled, if this machine queued it, and tells what became of it.
func (b *Book) cancel(tx *keystore.Tx, ref string, tell func(MessageFate)) error {
	queued, err := queuedOf(tx, ref)
	if err != nil || queued == nil {
		return err
	}
	b.o.Sender.Cancel(tx, *queued, func(left bool) {
		if left {
			tell(MessageLeft)
		} else {
			tell(MessageCancelled)
		}
	})
	return nil
}

// queuedOf returns the message that this machine queued for a secret, nil for none.
func queuedOf(tx *keystore.Tx, ref string) (found *MessageID, err error) {
	err = tx.KV().Scan(QueuedPrefix, func(record string, of []byte) error {
		if id, ok := QueuedID(record); ok && string(of) == ref {
			found = &id
		}
		return nil
	})
	return found, err
}

// Gone returns those of queued messages, by the references of their secrets, whose secrets another machine removed.
func (b *Book) Gone(queued map[MessageID]string) (gone []MessageID, err error) {
	for id, ref := range queued {
		it, err := b.o.Vault.Get(secretItem(ref))
		clear(it.Body)
		if errors.Is(err, fault.NotFound) {
			gone = append(gone, id)
		} else if err != nil {
			return nil, err
		}
	}
	return gone, nil
}

func errRef() error {
	return fault.New(fault.InvalidRequest, "a secret's reference has 32 hexadecimal digits")
}
