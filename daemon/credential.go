package daemon

import (
	"context"
	"errors"

	"coldframe/daemon/link"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/keystore"
)

// The records of the credential with which this machine logs in at a coordinator where no person is at hand.
const (
	fieldCredential = "credential"       // sealed
	fieldTaken      = "credential-taken" // it is there once the coordinator has the credential
)

// Credential implements link.Store. Only a machine that opens the vault without a person has one.
func (l linkStore) Credential() (secret.Key, error) {
	if !l.a.opensUnattended() {
		return secret.Key{}, nil
	}
	plain, _, err := l.load(fieldCredential)
	if err != nil || plain == nil {
		return secret.Key{}, err
	}
	k, err := secret.FromBytes(plain)
	if err != nil {
		return secret.Key{}, fault.New(fault.NotAuthentic, "the record of the coordinator's credential is damaged")
	}
	return k, nil
}

// CredentialTaken implements link.Store.
func (l linkStore) CredentialTaken() error {
	return l.a.db.Update(func(tx *kv.Tx) error { return tx.Set(linkKey(l.url, fieldTaken), []byte{1}) })
}

// NewCredential implements link.Store.
func (l linkStore) NewCredential() (secret.Key, error) {
	if !l.a.opensUnattended() {
		return secret.Key{}, l.forgetCredential()
	}
	if k, err := l.Credential(); err != nil || !k.IsZero() {
		return k, err
	}
	k := secret.Random()
	err := l.a.db.Update(func(tx *kv.Tx) (err error) {
		k.Use(func(b []byte) { err = l.write(tx, fieldCredential, b) })
		return errors.Join(err, tx.Delete(linkKey(l.url, fieldTaken)))
	})
	if err != nil {
		k.Wipe()
		return secret.Key{}, err
	}
	return k, nil
}

func (l linkStore) forgetCredential() error {
	return l.a.db.Update(func(tx *kv.Tx) error { return forgetCredential(tx, l.url) })
}

func forgetCredential(tx *kv.Tx, url string) error {
	return errors.Join(tx.Delete(linkKey(url, fieldCredential)), tx.Delete(linkKey(url, fieldTaken)))
}

// lacksCredential reports whether this machine opens the vault without a person, and could not log in at its coordinator like that: the next
// login with the password changes it.
func (a *Agent) lacksCredential() bool {
	item, err := a.coordinatorItem()
	if err != nil || !a.opensUnattended() {
		return false
	}
	taken, err := a.db.Has(linkKey(item.URL, fieldTaken))
	return err == nil && !taken
}

// giveProof hands a link its login proof: for a new login where this machine lacks a credential, else for when the session has ended.
func (a *Agent) giveProof(l *link.Link, url string, proof keystore.Proof) {
	if a.lacksCredential() {
		l.Renew(proof.For(url))
		return
	}
	l.Give(proof.For(url))
}

// renewCredential has the link log in with the password, which was just judged right: with another credential or, where this machine is opened by
// a person only from now on, with none, which ends the one that the coordinator knows. A failure leaves that to the next unlock.
func (a *Agent) renewCredential(ctx context.Context, s *session, password []byte) {
	l := s.currentLink()
	if l.Link == nil {
		return
	}
	err := linkStore{a, s, l.url}.forgetCredential()
	proof, failed := a.vault.LoginProof(ctx, password)
	if err = errors.Join(err, failed); err != nil {
		a.log.Warn("the credential for the coordinator is not changed yet", failure(err)...)
		return
	}
	l.Renew(proof.For(l.url))
	proof.Wipe()
}
