package daemon

import (
	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
)

// standingOf returns what peers are to the user, by the book. Whoever is removed or blocked stays somebody whom messages were sent to.
func standingOf(book *contacts.Book) func(peer string) (messages.Standing, error) {
	return func(peer string) (messages.Standing, error) {
		c, err := book.Known(peer)
		switch {
		case err != nil:
			return messages.StandingFormer, err
		case c.State == "":
			return messages.StandingNone, nil
		case c.Stranger():
			return messages.StandingAsks, nil
		case c.Trusted():
			return messages.StandingContact, nil
		}
		return messages.StandingFormer, nil
	}
}
