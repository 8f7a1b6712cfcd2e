// Package vault embeds the known answers of the vault's formats, one case a file; docs/vault.md says what they hold.
package vault

import "embed"

// Files are the cases.
//
//go:embed *.json
var Files embed.FS
