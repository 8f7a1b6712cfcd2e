// Package seal embeds the known answers of the sealed value, one case a file; docs/seal.md says what they hold.
package seal

import "embed"

// Files are the cases.
//
//go:embed *.json
var Files embed.FS
