// Package driver puts package ratchet behind lines of JSON, so that an outside peer in any language can talk to it. A request is one object
// on one line; so is its answer. Bytes are hex. Public keys have the form of the wire: an X25519 key 33 bytes (05 and the key), a KEM key
// 1,569 bytes (08 and the key), private scalars 32, signatures 64.
//
//	{"cmd":"init","name":"ada","device":1,"registration_id":7,"identity_private":"…"}
//	    a new peer. All but the name may be left out: device 1, a random registration id and identity.
//	    → name, device, registration_id, identity_key
//	{"cmd":"bundle","one_time":true,"kyber_last_resort":false}
//	    a new bundle, without a one-time prekey and with a one-time KEM prekey if nothing else is said.
//	    → bundle: {name, device_id, registration_id, identity_key, signed_prekey:{id,public,signature}, kyber_prekey:{id,public,signature},
//	      one_time_prekey?:{id,public}}
//	{"cmd":"process_bundle","bundle":{…}}
//	    begins a session with the peer that the bundle names, as the initiator; one that there is goes to the archive.
//	{"cmd":"encrypt","remote":{"name":"bob","device":1},"plaintext":"…"}               → type (2 or 3), ciphertext
//	{"cmd":"decrypt","remote":{…},"type":3,"ciphertext":"…"}                           → plaintext
//	{"cmd":"fingerprint","remote_identity":"05…","local_id":"…","remote_id":"…"}       → displayable (60 digits), scannable
//	    version 2: an id is the 16 bytes of an account's UUID.
//	{"cmd":"session","remote":{…}}
//	    → exists and, if there is a session, unacknowledged, epoch (of the post-quantum ratchet, from 1), archived,
//	      remote_identity, remote_registration_id
//	{"cmd":"dump"}                 → state: everything, private keys included. It goes on from there after load.
//	{"cmd":"load","state":"…"}     → as init
//	{"cmd":"quit"}
//
// A request may carry an "id", a number or a string, which its answer repeats. An answer has "ok": true, or false with "error", a code of
// package fault, and "detail". Whatever is wrong with a request (no JSON, an unknown command, missing fields, bad hex) is invalid_request
// and changes nothing; fields that are not listed here are ignored. Before init and load every other command is refused so too.
package driver
