package link

import (
	"crypto/tls"
	"errors"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const notDialled = "the coordinator has an address that may not be dialled: " +
	"allow_private or allow_loopback under [coordinator] in the agent's configuration"

func asError(err error) (*coordinator.Error, bool) { return errors.AsType[*coordinator.Error](err) }

// codes are those of a coordinator that mean the same here.
var codes = map[fault.Code]string{
	fault.Unauthorized:   "the coordinator does not know this account under this password",
	fault.Forbidden:      "the coordinator does not let this account in: an invitation is missing, or was used or has expired",
	fault.Policy:         "the coordinator takes no registrations",
	fault.Conflict:       "the coordinator has an account with this e-mail address or this id already",
	fault.StorageFull:    "the coordinator has no room left",
	fault.Busy:           "the coordinator is busy, or was asked too often",
	fault.Unavailable:    "the coordinator is not there",
	fault.InvalidRequest: "the coordinator does not understand this agent",
}

// Failure gives an error of a call one of the codes of this program and a text of our own; nothing that a coordinator wrote is in it.
func Failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fault.Policy) && !fromCoordinator(err) {
		return fault.Wrap(fault.Policy, err, "%s", notDialled)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Wrap(fault.NotAuthentic, err, "nobody who is trusted vouches for the coordinator's certificate")
	}
	if e, ok := asError(err); ok {
		code := fault.Code(e.Problem.Code)
		if text, known := codes[code]; known {
			return fault.New(code, "%s", text)
		}
		return fault.New(fault.Unavailable, "the coordinator failed in a way that is not known here")
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	return fault.Wrap(fault.Unavailable, err, "the coordinator does not answer")
}

func fromCoordinator(err error) bool {
	_, ok := asError(err)
	return ok
}

// refuses reports whether a failure is an answer, rather than the lack of one: trying again soon would bring the same.
func refuses(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false // a network that puts itself in between does this, and is left soon
	}
	switch fault.CodeOf(Failure(err)) {
	case fault.Unavailable, fault.Busy, fault.StorageFull:
		return false
	}
	return true
}
