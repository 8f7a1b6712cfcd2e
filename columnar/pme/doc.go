// Package pme is Parquet Modular Encryption under plain column chunks. An encoder makes pages, this package seals them
// into a file that any reader of modular encryption opens when given the keys; and back. It knows nothing of datasets or stores,
// and does not encode or decode values.
//
// # Terms
//
// A file is row groups of column chunks, one for each leaf column; a chunk is a dictionary page (or none) and data pages, each behind
// its header. A module is one sealed piece: a page, a page header, the metadata of a chunk, the footer. Its frame is length ‖ nonce ‖
// ciphertext ‖ tag, AES-256-GCM. Its associated data names the file and the place: AAD prefix ‖ file's unique identifier ‖ kind ‖ row
// group ‖ column ‖ page. So a module that was moved, doubled or dropped does not open, or is missed.
//
// A data key seals the modules of one leaf column, or the footer, of one file; it is random. A named key wraps data keys; wrapped data
// keys stand in the file as key metadata (PKMT1, single wrapping). The tail is the end of a file: crypto header, sealed footer, its
// length, and the magic PARE.
//
// # Writing
//
// [NewFileWriter]; for each row group [FileWriter.SealColumn] for every top-level column, in parallel, its pages, and then
// [FileWriter.AppendRowGroup]; at the end [FileWriter.Close], which fills the file up to a Padmé length. Nothing is written in the
// clear but key metadata (the names of keys), the AAD prefix, and lengths.
//
// # Reading
//
// [TailSize], [OpenFooter]; [File.Statistics] tells what a chunk can hold; for each wanted leaf [File.Range] and [File.UnsealChunk]; then
// its pages, with [NextPage], inside [Guard], since what an author sealed can still be nonsense. The caller says which keys and which AAD prefix it expects; what the file says about them is compared and never obeyed.
//
// [File.WritePlain] is for foreign files that are imported: it decrypts page by page. [MasterKeys] unwraps their keys.
//
// # What it refuses
//
// In files of our own: AES_GCM_CTR_V1, a plaintext footer, columns in the clear or under the footer's key: fault.Policy. A key that the
// file does not commit to, a module out of place, counts that do not add up: fault.NotAuthentic. Sizes beyond the limits, before
// anything is allocated for them: fault.TooLarge. Page indexes and Bloom filters are not written, and passed over when read.
//
// docs/column-encryption.md says it byte for byte.
package pme
