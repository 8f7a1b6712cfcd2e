// Package contacts is whom a user knows: what is believed about their keys, and the secrets sent to and from them. docs/contacts.md has
// the formats byte for byte.
//
// # Terms
//
// A card is a user's id with an identity key and a signing key that the identity signed for this user. A bundle is what a user publishes
// so that others can start a session: the card, prekeys, dates, and a place in a chain, signed with the signing key. A one-time prekey is
// published beside it, signed likewise. An offer is a bundle that was verified.
//
// A contact is what is known of somebody: the card pinned at first sight, the mark of the newest bundle seen, whether a person compared the
// safety number, the identities that were replaced. A stranger is who sent something and was not consented to. A sighting is any word about
// somebody's keys: an offer, or the identity that a message came under.
//
// # What is believed
//
// The coordinator finds users and hands out bundles; nothing it says replaces a pin (THREATS R2). A sighting of another identity, another
// signing key or a second bundle of one number makes a contact changed: nothing is sent, what comes is held, both sightings are kept, and
// only a person resolves it, by the safety number of the new one or by keeping the old one. An identity that was replaced is revoked for
// good, also across removing the contact.
//
// The rules are functions of a contact alone (rules.go); the Book applies them inside a transaction of the vault, so that what was judged
// is what is stored. It has no network of its own: a Directory looks things up, a Sender queues messages in the same transaction.
package contacts
