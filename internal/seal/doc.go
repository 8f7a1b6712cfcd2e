// Package seal makes the sealed value: AES-256-GCM-SIV (RFC 8452) under a header that names and commits to its key, with
// associated data that binds the value to its place. It is for everything small that leaves the agent (vault items, titles, names),
// and it is the only package that calls that cipher. docs/seal.md has the format byte for byte.
//
// # Terms
//
// The purpose says what a key is for ("vault/item"): the cipher key is derived from key, purpose and key id, so two purposes never
// share one (THREATS R8). The key id names the key without telling anything about it. The commitment is a hash that only this key
// has: GCM-SIV alone lets somebody craft bytes that open under two keys (THREATS R9, D12). The context is where the value belongs:
// owner, object type, object id, field and version (THREATS R1); it is not in the bytes, both sides must know it.
//
// # What opening tells
//
// A value that does not open gives one error, whatever was wrong, after the same work (THREATS R15). The one exception is a format
// version that is not ours, which is refused as such (THREATS R4): there is no negotiation.
package seal
