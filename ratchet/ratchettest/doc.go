// Package ratchettest has what tests of package ratchet, and of what is built on it, need: a store that seals records and swaps them by
// their counters, parties with such a store, twins whose randomness is fixed, and transcripts of dialogues, own ones and recorded ones of
// the reference.
package ratchettest
