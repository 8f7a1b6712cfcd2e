package server

import "coldframe/internal/apicheck"

// checks holds the compiled schemas of every operation in openapi.yaml. Compiling takes a while, so it is done once, when the program starts.
var checks = mustCompile()

func mustCompile() map[string]*apicheck.Operation {
	c := apicheck.MustCompile(decodeSpec)
	for _, r := range routes {
		if c[r.operation] == nil {
			panic("server: the specification has no operation " + r.operation)
		}
	}
	return c
}
