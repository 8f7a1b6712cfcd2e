// Package version says which build this is. The Makefile sets both values; a plain `go build` leaves "devel".
package version

import "runtime"

// Set with -ldflags -X at build time.
var (
	Version = "0.1.0"
	Commit  = "devel"
)

// String is what --version prints: version, commit, toolchain and platform.
func String() string {
	return Version + " (commit " + Commit + ", " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
