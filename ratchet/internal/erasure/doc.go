// Package erasure cuts a stream into chunks of which any N different ones give the stream back (protocol notes, section 7.4): the
// stream is what the post-quantum ratchet exchanges, a chunk is what one message carries.
//
// # Terms
//
// A stream of N chunks is 32·N bytes, N from 3 to 36. A chunk is 16 elements of the field GF(2^16), each two bytes, big-endian. Element
// p of chunk number x is the value at x of the polynomial of degree below N through the elements p of the stream's own chunks, which are
// numbers 0 to N-1. So the first N chunks are the stream itself, and every other one, up to number 65535, is interpolated.
//
// # Time
//
// Streams are public: they travel in the clear beside the message (section 7.5). What is here looks up tables and branches by their bytes.
package erasure
