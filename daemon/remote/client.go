package remote

import (
	"cmp"
	"errors"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// Client returns the client that is logged in now. fault.Unavailable: there is none.
type Client func() (*coordinator.Client, error)

// texts are what a caller may read of a coordinator's refusals.
var texts = map[fault.Code]string{
	fault.Unauthorized:   "the coordinator wants this machine to log in",
	fault.Forbidden:      "the coordinator does not let this account do that, or the password is another one there",
	fault.NotFound:       "the coordinator has no such thing",
	fault.Conflict:       "the coordinator has another version than the one that was known here",
	fault.TooLarge:       "the coordinator takes nothing as large",
	fault.Policy:         "the coordinator does not allow it",
	fault.StorageFull:    "the coordinator has no room left",
	fault.Busy:           "the coordinator is busy, or was asked too often",
	fault.Unavailable:    "the coordinator is not there",
	fault.InvalidRequest: "the coordinator does not understand this agent",
	fault.NotAuthentic:   "the coordinator says what it cannot know",
}

// full is what a caller may read of what is used up.
var full = map[string]string{
	coordinator.QuotaResource:   "the room that the coordinator gives this account is used up",
	coordinator.MailboxResource: "the receiver's mailbox is full",
}

// failure gives a refusal of the coordinator a text of our own under its code; nothing that a coordinator wrote is in it.
func failure(err error) error {
	e, ok := errors.AsType[*coordinator.Error](err)
	if !ok {
		return err
	}
	code := fault.CodeOf(e)
	return fault.New(code, "%s", cmp.Or(full[e.Resource()], texts[code], "the coordinator refused"))
}

// unsure is failure for a change: what is no refusal leaves open whether the change was made.
func unsure(err error) error {
	_, refused := errors.AsType[*coordinator.Error](err)
	if err == nil || refused || errors.Is(err, fault.Unauthorized) {
		return failure(err)
	}
	return fault.Wrap(fault.Unavailable, err, "the coordinator's answer was lost, or cannot be read")
}

var errOther = fault.New(fault.NotAuthentic, "the coordinator answered with something else than it was asked for")
