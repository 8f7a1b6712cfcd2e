// Package devices embeds the known answers of device lists, wraps records, requests and key files, one case a file; docs/devices.md
// says what they hold.
package devices

import "embed"

// Files are the cases.
//
//go:embed *.json
var Files embed.FS
