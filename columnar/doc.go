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
// before they are created, and are nothing until a manifest names them. Encoding is chosen for each column by trial (package chunk).
//
// # Reading
//
// [OpenRoster], [VerifyManifest], [Manifest.Unseal], [NewReader]. Keys come from the caller and are compared with the commitments in the
// manifest; each chunk is compared with its hash there before it is unsealed, and unsealed before a row of it is handed out. A stream
// that ends with io.EOF was complete. Package chunk decodes, each column of a row group by itself on all processors, while the rows of the
// one before are with the caller.
//
// A [Where] chooses rows. Row groups that hold none of them by their statistics, which are sealed with the footer, are not fetched; what
// is fetched is compared value by value.
//
// # Memory
//
// What is held at most, in bytes, whatever the table is:
//
//	a Writer   6 × RowGroupBytes + 24 MiB                                              120 MiB with [DefaultRowGroupBytes]
//	a Reader   fetchAhead × (1 + 1/wasteShare) + 2 × maxDecoded + tailBytes + 8 MiB    141 MiB
//	an upload  3 × the size of an upload's part, to a bucket (package s3); nothing to a folder    24 MiB
//
// The six row groups of a Writer are two of rows, one filling and one being encoded; what encoders of as many columns as there are processors
// have in their buffers, which pools keep, at most two; and two that are sealed, one being made and one being uploaded. A Reader has sealed
// chunks and the holes between them, in buffers that are used again, the row group that is being decoded, which takes at most maxDecoded whatever its author made of it, the
// one that its caller holds, and the tails of the next parts. The rest is windows and tables of the codecs. Beside these there are the
// manifest, of 36 bytes for each chunk, and the footers of the parts that are open, of at most 16 MiB, which take up to 38 MiB more
// (docs/column-encryption.md). TestMemoryBounds compares what is alive with these formulas.
//
// The collector lets garbage come on top: with GOMEMLIMIT at 160 MiB the process stays below 256 MiB (F17).
package columnar
