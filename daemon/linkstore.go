package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"coldframe/daemon/link"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// linkPrefix begins the records of a link: tokens, proofs and credential of a coordinator, sealed under the local key. They are of this machine
// and in no backup.
const linkPrefix = "coordinator/"

// maxProofs is how many password changes may wait for a coordinator; of more, those in the middle are dropped.
const maxProofs = 8

// joinedKey holds the coordinators that this machine joined, or tried to: CBOR of their URLs, the latest last, sealed. A password change
// concerns them all, as it may be one of a former coordinator that is joined again. Of more than maxJoined the oldest goes, with its records.
const (
	joinedKey = "meta/coordinators"
	maxJoined = 16
)

// linkStore implements link.Store for one coordinator.
type linkStore struct {
	a   *Agent
	s   *session
	url string
}

// linkKey names a record by a hash of the coordinator's address, so that no record is ever taken for another coordinator's.
func linkKey(url, field string) string {
	h := sha256.Sum256([]byte(url))
	return linkPrefix + hex.EncodeToString(h[:16]) + "/" + field
}

// read opens a record; nil if there is none.
func (l linkStore) read(tx *kv.Tx, field string) (plain, sealed []byte, err error) {
	sealed, err = tx.Get(linkKey(l.url, field))
	if errors.Is(err, fault.NotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	sealed = bytes.Clone(sealed)
	plain, err = seal.Open(l.s.local.key, purposeLocal, l.s.context("coordinator", l.url, field), sealed)
	return plain, sealed, err
}

func (l linkStore) write(tx *kv.Tx, field string, plain []byte) error {
	return tx.Set(linkKey(l.url, field), l.s.sealLocal("coordinator", l.url, field, plain))
}

// load opens a record. One that does not open is as good as none, as the agent logs in again, and is removed.
func (l linkStore) load(field string) (plain, sealed []byte, err error) {
	err = l.a.db.View(func(tx *kv.Tx) (err error) {
		plain, sealed, err = l.read(tx, field)
		return err
	})
	if errors.Is(err, fault.NotAuthentic) {
		return nil, nil, l.drop(field, sealed, err)
	}
	return plain, sealed, err
}

// drop removes a damaged record, which leaves one event.
func (l linkStore) drop(field string, sealed []byte, damage error) error {
	l.a.log.Warn("a record for the coordinator does not open", failure(damage)...)
	err := l.a.db.Update(func(tx *kv.Tx) error {
		_, present, err := l.read(tx, field)
		if !errors.Is(err, fault.NotAuthentic) || !bytes.Equal(present, sealed) {
			return nil // it was replaced meanwhile
		}
		return errors.Join(tx.Delete(linkKey(l.url, field)), l.a.events.stage(tx, Event{Type: EventRefused, Code: fault.NotAuthentic}))
	})
	l.a.publish()
	if errors.Is(err, fault.StorageFull) {
		return nil
	}
	return err
}

// Tokens implements link.Store.
func (l linkStore) Tokens() ([]byte, error) {
	plain, _, err := l.load("tokens")
	return plain, err
}

// SaveTokens implements link.Store.
func (l linkStore) SaveTokens(b []byte) error {
	return l.a.db.Update(func(tx *kv.Tx) error {
		if b == nil {
			return tx.Delete(linkKey(l.url, "tokens"))
		}
		return l.write(tx, "tokens", b)
	})
}

// Proofs implements link.Store.
func (l linkStore) Proofs() (*link.Proofs, error) {
	plain, sealed, err := l.load("proofs")
	if err != nil || plain == nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	list, err := parseProofs(plain)
	p := &link.Proofs{List: list, Seal: sealed}
	if hash, err := keystore.EmailHash(l.a.vault.Email()); err == nil {
		p.EmailHash = hash[:]
	}
	return p, err
}

func parseProofs(plain []byte) (list []secret.Key, err error) {
	if len(plain)%secret.KeySize != 0 || len(plain) > maxProofs*secret.KeySize {
		return nil, fault.New(fault.NotAuthentic, "the record of login proofs is damaged")
	}
	for ; len(plain) > 0; plain = plain[secret.KeySize:] {
		k, err := secret.FromBytes(plain[:secret.KeySize])
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// ForgetProofs implements link.Store.
func (l linkStore) ForgetProofs(p *link.Proofs) error {
	return l.a.db.Update(func(tx *kv.Tx) error {
		sealed, err := tx.Get(linkKey(l.url, "proofs"))
		if errors.Is(err, fault.NotFound) || err == nil && !bytes.Equal(sealed, p.Seal) {
			return nil
		}
		return errors.Join(err, tx.Delete(linkKey(l.url, "proofs")))
	})
}

// addProof records a password change inside its transaction: the proofs of before and after, or the latter alone behind earlier changes.
// A record that does not open is replaced: it must not keep a password from being changed.
func (l linkStore) addProof(tx *kv.Tx, before, after keystore.Proof) error {
	plain, _, err := l.read(tx, "proofs")
	defer secret.Wipe(plain)
	if err != nil && !errors.Is(err, fault.NotAuthentic) {
		return err
	}
	next := make([]byte, 0, (maxProofs+1)*secret.KeySize)
	defer secret.Wipe(next[:cap(next)])
	next = append(next, plain...)
	if len(next) == 0 {
		next = l.appendProof(next, before)
	}
	next = l.appendProof(next, after)
	if len(next) > maxProofs*secret.KeySize { // keep the first, which the coordinator knew, and the latest
		next = append(next[:secret.KeySize], next[2*secret.KeySize:]...)
	}
	return l.write(tx, "proofs", next)
}

// appendProof appends the proof for this coordinator.
func (l linkStore) appendProof(list []byte, p keystore.Proof) []byte {
	own := p.For(l.url)
	defer own.Wipe()
	own.Use(func(b []byte) { list = append(list, b...) })
	return list
}

// joined returns the coordinators of joinedKey. A record that does not open is as good as none: it must not keep a password from being changed.
func (s *session) joined(tx *kv.Tx) (list []string, err error) {
	sealed, err := tx.Get(joinedKey)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	plain, err := seal.Open(s.local.key, purposeLocal, s.context("coordinator", "", "joined"), bytes.Clone(sealed))
	if err == nil {
		err = signed.Unmarshal(plain, &list)
	}
	if err != nil || len(list) > maxJoined {
		return nil, nil //nolint:nilerr // see above
	}
	return list, nil
}

// noteJoined makes coordinators the latest of those that a password change concerns. Empty names are passed over.
func (s *session) noteJoined(tx *kv.Tx, urls ...string) error {
	list, err := s.joined(tx)
	if err != nil {
		return err
	}
	for _, url := range urls {
		list = append(slices.DeleteFunc(list, func(known string) bool { return known == url }), url)
	}
	list = slices.DeleteFunc(list, func(url string) bool { return url == "" })
	for ; len(list) > maxJoined; list = list[1:] {
		err = errors.Join(err, forgetTokens(tx, list[0]), tx.Delete(linkKey(list[0], "proofs")))
	}
	plain, encoding := signed.Marshal(list)
	if err := errors.Join(err, encoding); err != nil {
		return err
	}
	return tx.Set(joinedKey, s.sealLocal("coordinator", "", "joined", plain))
}

// addProofs records a password change for every coordinator that may know the former password.
func (a *Agent) addProofs(s *session, tx *kv.Tx, before, after keystore.Proof) error {
	list, err := s.joined(tx)
	for _, url := range list {
		err = errors.Join(err, linkStore{a, s, url}.addProof(tx, before, after))
	}
	return err
}

// forgetTokens removes the session at a coordinator that is left, and the credential. Proofs stay: it knows the account.
func forgetTokens(tx *kv.Tx, url string) error {
	if url == "" {
		return nil
	}
	return errors.Join(tx.Delete(linkKey(url, "tokens")), forgetCredential(tx, url))
}
