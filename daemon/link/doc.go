// Package link is the agent's connection to its coordinator: who it is there, its tokens, and a stream of events that tells whether the
// coordinator is there.
//
// # States
//
//	connecting    a try is under way
//	online        logged in, and the stream of events is open
//	offline       no connection; tried again at random times that grow to half a minute
//	login_needed  the session ended, and there is neither login proof nor credential: the next unlock with the password gives a proof
//	refused       the coordinator says no, or says what cannot be true; tried again every few minutes
//
// # Tokens
//
// The access token is in memory alone. The refresh token and the id under which it will be exchanged are made durable before either is
// used, through the Store, which seals them. An exchange whose answer is lost, because something died, is made again under the same id.
//
// # The login proof
//
// It comes from the password, so there is one after an unlock only. It is kept until the coordinator took the session once, so that an
// agent that was unlocked while the coordinator was away logs in when it comes back, and is wiped then. Proofs of before a password
// change are in the Store until the coordinator knows the new one.
//
// # The credential
//
// A machine that is opened without a person has a credential: 32 random bytes in the Store, which a login with the proof gives the coordinator and
// which logs in later where the session has ended and no proof is at hand. It is durable before it is sent. One that the coordinator refuses
// stays where it is, and is tried again by the next process.
//
// # What is believed
//
// Tokens of another user than ours are refused. The coordinator's codes are taken over only if they are ours; its texts never are. Every
// call ends after a bounded time, answers are bounded by the client, addresses are judged by internal/netguard when they are dialled,
// redirects and proxies are not followed.
package link
