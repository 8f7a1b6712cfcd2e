package daemon

import (
	"context"
	"errors"

	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// queue puts messages of contacts into the outbox, in the vault's transaction.
type queue struct{ y *syncer }

// Queue implements contacts.Sender.
func (q queue) Queue(tx *keystore.Tx, m contacts.Outgoing) (contacts.MessageID, error) {
	if _, err := tx.Get(itemCoordinator); err != nil {
		return contacts.MessageID{}, fault.New(fault.Unavailable, "no coordinator is set")
	}
	id, err := q.y.mail.EnqueueIn(tx.KV(), m.To, m.Kind, m.Payload)
	return contacts.MessageID(id), err
}

// Cancel implements contacts.Sender.
func (q queue) Cancel(tx *keystore.Tx, id contacts.MessageID, tell func(left bool)) {
	tx.OnCommit(func(tx *kv.Tx) error {
		left, err := q.y.mail.CancelIn(tx, messages.ID(id))
		if err != nil {
			return err
		}
		tell(left)
		return tx.Delete(contacts.QueuedRecord(id)) // until now it says what cancelGone has to do, should this never be called
	})
}

// queuedSecrets returns the messages that this machine queued for secrets and of which it did not note that they were sent, with the
// references of the secrets.
func (y *syncer) queuedSecrets() (map[contacts.MessageID]string, error) {
	queued := map[contacts.MessageID]string{}
	err := y.a.db.View(func(tx *kv.Tx) error {
		clear(queued)
		return tx.Scan(contacts.QueuedPrefix, func(record string, ref []byte) error {
			if id, ok := contacts.QueuedID(record); ok {
				queued[id] = string(ref)
			}
			return nil
		})
	})
	return queued, err
}

// cancelGone cancels the messages of secrets that another machine removed.
func (y *syncer) cancelGone() error {
	queued, err := y.queuedSecrets()
	if err != nil {
		return err
	}
	gone, err := y.book.Gone(queued)
	if err != nil || len(gone) == 0 {
		return err
	}
	return y.a.db.Update(func(tx *kv.Tx) error {
		for _, id := range gone {
			_, err := y.mail.CancelIn(tx, messages.ID(id))
			if err = errors.Join(err, tx.Delete(contacts.QueuedRecord(id))); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteSent says of secrets whose messages have left the outbox that they were sent.
func (y *syncer) noteSent(ctx context.Context) error {
	queued, err := y.queuedSecrets()
	if err != nil {
		return err
	}
	waiting, err := y.mail.Waiting()
	if err != nil {
		return err
	}
	for id := range queued {
		if waiting[messages.ID(id)] {
			delete(queued, id)
		}
	}
	if len(queued) == 0 {
		return nil
	}
	return y.a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		for id := range queued {
			if err := y.book.Sent(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}
