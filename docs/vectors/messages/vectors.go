// Package messages embeds the known answers of the bodies of messages, one case a file; docs/messages.md says what they hold.
package messages

import "embed"

// Files are the cases.
//
//go:embed *.json
var Files embed.FS
