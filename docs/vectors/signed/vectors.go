// Package signed embeds the known answers of signed things, one case a file; docs/signed.md says what they hold.
package signed

import "embed"

// Files are the cases.
//
//go:embed *.json
var Files embed.FS
