package server

import (
	"context"
	"time"

	"coldframe/daemon"
)

// ListContacts lists contacts, and the strangers who ask.
func (h *handlers) ListContacts(ctx context.Context, _ ListContactsRequestObject) (ListContactsResponseObject, error) {
	list, err := h.agent.Contacts(ctx)
	return ListContacts200JSONResponse{Contacts: each(list, contactOf)}, err
}

// AddContact adds somebody.
func (h *handlers) AddContact(ctx context.Context, r AddContactRequestObject) (AddContactResponseObject, error) {
	c, err := h.agent.AddContact(ctx, daemon.AddContactRequest{User: deref(r.Body.User), Email: deref(r.Body.Email), Name: deref(r.Body.Name)})
	return AddContact201JSONResponse(contactOf(c)), err
}

// GetContact returns one contact.
func (h *handlers) GetContact(ctx context.Context, r GetContactRequestObject) (GetContactResponseObject, error) {
	c, err := h.agent.Contact(ctx, r.Id)
	return GetContact200JSONResponse(contactOf(c)), err
}

// RenameContact changes what a contact is called here.
func (h *handlers) RenameContact(ctx context.Context, r RenameContactRequestObject) (RenameContactResponseObject, error) {
	c, err := h.agent.RenameContact(ctx, r.Id, r.Body.Name)
	return RenameContact200JSONResponse(contactOf(c)), err
}

// RemoveContact forgets a contact, or declines a stranger.
func (h *handlers) RemoveContact(ctx context.Context, r RemoveContactRequestObject) (RemoveContactResponseObject, error) {
	return RemoveContact204Response{}, h.agent.RemoveContact(ctx, r.Id)
}

// AcceptContact consents to a stranger, or unblocks.
func (h *handlers) AcceptContact(ctx context.Context, r AcceptContactRequestObject) (AcceptContactResponseObject, error) {
	c, err := h.agent.AcceptContact(ctx, r.Id)
	return AcceptContact200JSONResponse(contactOf(c)), err
}

// BlockContact blocks somebody.
func (h *handlers) BlockContact(ctx context.Context, r BlockContactRequestObject) (BlockContactResponseObject, error) {
	c, err := h.agent.BlockContact(ctx, r.Id)
	return BlockContact200JSONResponse(contactOf(c)), err
}

// GetSafetyNumber returns the safety numbers with a contact.
func (h *handlers) GetSafetyNumber(ctx context.Context, r GetSafetyNumberRequestObject) (GetSafetyNumberResponseObject, error) {
	n, err := h.agent.SafetyNumbers(ctx, r.Id)
	out := GetSafetyNumber200JSONResponse{Digits: n.Digits, Groups: list(n.Groups), Code: n.Code}
	if n.New != nil {
		out.New = &SafetyNumber{Digits: n.New.Digits, Groups: list(n.New.Groups), Code: n.New.Code}
	}
	return out, err
}

// VerifyContact notes that a person compared the safety number.
func (h *handlers) VerifyContact(ctx context.Context, r VerifyContactRequestObject) (VerifyContactResponseObject, error) {
	c, err := h.agent.VerifyContact(ctx, r.Id, comparisonOf(r.Body.Number, r.Body.Code))
	return VerifyContact200JSONResponse(contactOf(c)), err
}

// UnverifyContact takes that back.
func (h *handlers) UnverifyContact(ctx context.Context, r UnverifyContactRequestObject) (UnverifyContactResponseObject, error) {
	c, err := h.agent.UnverifyContact(ctx, r.Id)
	return UnverifyContact200JSONResponse(contactOf(c)), err
}

// ResolveContact ends that a contact is changed.
func (h *handlers) ResolveContact(ctx context.Context, r ResolveContactRequestObject) (ResolveContactResponseObject, error) {
	c, err := h.agent.ResolveContact(ctx, r.Id, daemon.ResolveRequest{
		TakeNew: r.Body.Take == ResolutionTakeNew, Given: comparisonOf(r.Body.Number, r.Body.Code),
	})
	return ResolveContact200JSONResponse(contactOf(c)), err
}

func comparisonOf(number *TypedNumber, code *ScannedCode) daemon.Comparison {
	return daemon.Comparison{Number: deref(number), Code: deref(code)}
}

func contactOf(c daemon.Contact) Contact {
	out := Contact{
		User: c.User, Name: text(c.Name), Email: text(c.Email), State: ContactState(c.State), Added: c.Added, VerifiedAt: date(c.Verified),
	}
	if c.Weak {
		out.Weak = &c.Weak
	}
	if c.Changed != nil {
		out.Changed = &ContactChange{Reason: ContactChangeReason(c.Changed.Reason), SeenAt: c.Changed.Seen}
	}
	if c.Former != nil {
		former := each(c.Former, func(f daemon.FormerContact) FormerIdentity {
			return FormerIdentity{Until: f.Until, Verified: f.Verified}
		})
		out.Former = &former
	}
	return out
}

// date returns nil for the zero time.
func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
