package daemon

import (
	"context"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

// peopleWiring is the part of a session that contacts and secrets need, as long as there is no coordinator behind them.
type peopleWiring struct{ book *contacts.Book }

func (a *Agent) wirePeople(s *session) error {
	var err error
	s.book, err = contacts.New(contacts.Options{
		Own:   contacts.Own{User: s.user, Identity: s.identity, Signing: s.signer.Public()},
		Vault: a.vault, Directory: noCoordinator{}, Sender: noCoordinator{}, EmailHash: keystore.EmailHash,
		Clock: a.clock.Now, Notify: a.contactEvent,
	})
	return err
}

func (s *session) people() (*contacts.Book, error) { return s.book, nil }

// peopleChanged is told of each change that lets waiting messages go or come.
func (a *Agent) peopleChanged(*session, string, peopleChange) {}

// noCoordinator is what a book has while no coordinator is set.
type noCoordinator struct{}

func errNoCoordinator() error { return fault.New(fault.Unavailable, "no coordinator is set") }

func (noCoordinator) FindUser(context.Context, contacts.Hash) (string, error) {
	return "", errNoCoordinator()
}

func (noCoordinator) FetchBundle(context.Context, string) (contacts.Published, error) {
	return contacts.Published{}, errNoCoordinator()
}

func (noCoordinator) Queue(*keystore.Tx, contacts.Outgoing) (contacts.MessageID, error) {
	return contacts.MessageID{}, errNoCoordinator()
}
