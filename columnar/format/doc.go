// Package format reads and writes tables in the four forms that Coldframe exchanges with applications: Arrow IPC, CSV, NDJSON and
// Parquet. Everything streams: a Reader hands out record batches of about 8 MiB or 64 Ki rows, a Writer takes them, and neither
// holds more than a few batches. docs/formats.md tells the rules of each form.
//
// Terms:
//
//   - canonical schema: the types that Coldframe stores (Canonical). Large, view, run-end and fixed-size variants become their plain
//     type, extension types their storage type, and schema metadata is dropped. Readers hand out canonical batches only.
//   - schema text: one line that names columns and types, "id int64, price decimal(18,4)" (ParseSchema, FormatSchema).
//   - row: counted from 1 among the data rows; line: counted from 1 in the body. Errors of the text forms name both, and the column.
//   - spool: what does not fit in memory (an Arrow message above 16 MiB, the body of a Parquet file) goes to an unlinked file, sealed
//     with AES-256-GCM under a key that exists in memory only.
//
// All input is hostile: sizes are checked before memory is allocated, a panic of the Parquet decoder becomes an error, and a stream
// that ends before its end mark is an error, never a short table. Wrong input is fault.InvalidRequest, input beyond a limit
// fault.TooLarge, a failing body fault.Incomplete.
package format
