// Package coldframe is the root of the module: it holds no code, only this map and the tests that keep it true.
//
//	cmd/coldframed      the agent: flags, wiring, signals
//	cmd/coldframe       the command line, a client of the local API
//	localapi            what applications link: client, wire types, openapi.yaml
//	localapi/server     the local API: routes, guard, listeners
//	daemon              the agent itself: life, account, datasets, transfers, events
//	daemon/devices      device keys, the signed device list, the state key, approval of a new device
//	daemon/membership   this machine's place among them: begins, asks, follows, approves, removes, rotates; holds the state key
//	daemon/contacts     whom the user knows: published bundles, pins, safety numbers, secrets
//	daemon/remote       the coordinator as the agent's packages ask for it: replica, blobs, mailbox, prekeys, device links
//	daemon/messages     the user's Signal sessions over a coordinator: records, outbox, inbox, heads
//	keystore            the vault: passwords, keys, items, backup
//	ratchet             the Signal protocol: identity, prekeys, handshake, sessions and their records
//	ratchet/internal    its parts: post-quantum ratchet, erasure code, ML-KEM in halves, key derivation
//	ratchet/ratchettest a store for records, parties, twins, transcripts
//	columnar            datasets: roster, manifest, writer, reader
//	columnar/pme        Parquet modular encryption under plain column chunks
//	columnar/chunk      the inside of column chunks: Arrow arrays to pages and back
//	columnar/format     Arrow, CSV, NDJSON and Parquet in and out
//	columnar/dir, s3    object stores: a folder, a bucket
//	columnar/cache      ranges of a bucket's objects on the local disk, sealed
//	columnar/query      SQL: the process with DuckDB in it, and what it is given
//	engine              that process: a module of its own
//	columnar/storetest  the suite every store passes, and stores that lie
//	cmd/coldframe-coordinator  the coordinator: flags, wiring, signals, the operator's commands
//	daemon/link         the agent's connection to its coordinator: login, tokens, events
//	coordinator         what an agent needs of one: client, wire types, openapi.yaml
//	coordinator/server  its HTTP API: routes, guard, rate limits, TLS
//	coordinator/state   accounts, sessions, prekeys, mailboxes, blobs, device lists, events
//	coordinator/store   what it needs of a database; badgerstore: Badger; storetest: the suite for all
//	coordinator/coordinatortest  a coordinator that lies, for tests of agents
//	internal/secret     keys in memory
//	internal/seal       the sealed value, AES-256-GCM-SIV
//	internal/signed     deterministic CBOR under Ed25519
//	internal/kv         the local store, Badger
//	internal/apicheck   requests held against an OpenAPI document
//	internal/httpapi    what both HTTP servers do alike: router, problems, panics in the log
//	internal/sse        server-sent events, read
//	internal/atomicfile files that are there whole or not at all
//	internal/freespace  what may still be written to a disk
//	internal/netguard   which addresses may be dialled
//	internal/parquetguard  bounds around arrow-go's Parquet decoder
//	internal/outside    test vectors of others, from beside the checkout
//	internal/fault      the codes of failures
//
// Who may import whom is in deps_test.go. docs/architecture.md walks one dataset out and back.
package coldframe
