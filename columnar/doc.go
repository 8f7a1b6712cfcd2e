// Package columnar keeps tables as encrypted columns in an object store: rosters and manifests that say what belongs to a dataset, a
// writer that streams record batches into encrypted Parquet files, and a reader that fetches only the wanted columns of them.
//
// # Terms
//
// A dataset has a roster, a signed chain of who may do what, and versions, one after the other. A version is a signed manifest and the
// parts that it names. A part is one object in the store, a Parquet file with modular encryption; its row groups hold a column chunk for
// each leaf column. A column is a top-level field of the schema: it has an id that outlives its name, and in each version a key of
// its own. docs/column.md has the bytes, docs/column-encryption.md those inside a part (package pme).
//
// # Writing
//
// [NewWriter], [Writer.Write], [Writer.Close]; then [Draft.Sign] makes the manifest, which the caller swaps in. Objects are registered
// before they are created, and are nothing until a manifest names them. Encoding is chosen for each column from the first row group.
//
// # Reading
//
// [OpenRoster], [VerifyManifest], [Manifest.Unseal], [NewReader]. Keys come from the caller and are compared with the commitments in the
// manifest; each chunk is compared with its hash there before it is unsealed, and unsealed before a row of it is handed out. A stream
// that ends with io.EOF was complete.
//
// A [Where] chooses rows. Row groups that hold none of them by their statistics, which are sealed with the footer, are not fetched; what
// is fetched is compared value by value.
//
// # Memory
//
// A writer holds three row groups of [DefaultRowGroupBytes], one filling, one being encoded and one being uploaded, and the encoder's
// buffers for as many columns as there are processors; besides them the parts of an upload that the store keeps. A reader holds
// 32 MiB of fetched chunks, a row group being decoded, which takes at most 48 MiB whatever its author made of it (with a condition, a
// second copy of one column of it at a time), one that waits to be taken, and the caller's. Both are independent of the table's size but for the manifest: 36 bytes for each
// chunk. With GOMEMLIMIT at 160 MiB the process stays below 256 MiB (F17).
package columnar
