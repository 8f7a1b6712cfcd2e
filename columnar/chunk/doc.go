// Package chunk encodes and decodes the column chunks of Coldframe's Parquet files: Arrow arrays to pages and back, without files, footers
// or keys, which are package pme's. Any Parquet reader reads what it writes (docs/column.md says which encodings).
//
// It exists for speed: a general Parquet library copies a value several times between its layers, builds a level for each value and a hash
// table for each column, and allocates for each page. Here a page is gathered once from the arrays, levels come from validity bitmaps and
// offsets in runs, values are decoded to where Arrow has them, and all buffers but those of the result are used again.
//
//	Arrow array ─▶ levels ┐
//	            └▶ values ┴▶ page, encoded ─▶ zstd ─▶ pme.ColumnSealer
//	pme.UnsealedChunk ─▶ zstd ─▶ page ─▶ levels, values ─▶ Arrow array
package chunk
