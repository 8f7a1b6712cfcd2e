// Package parquetguard bounds what arrow-go's Parquet decoder does with pages from outside. The decoder trusts them: a page can be a few
// bytes and become gigabytes, through its compression, a long dictionary value repeated, or a declared block size.
//
// Importing the package puts bounded codecs in the place of arrow-go's own. [Budget] is an allocator that stops at a limit. [CheckDeltas]
// looks at the one thing that the decoder allocates by itself.
package parquetguard
