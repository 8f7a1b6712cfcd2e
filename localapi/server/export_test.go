package server

import (
	"net"

	"coldframe/daemon"
)

// Listen lets tests outside of the package open listeners without an agent.
func Listen(cfg daemon.Listen, folder string, given []net.Listener) ([]net.Listener, error) {
	return listen(cfg, folder, given)
}

// Operation is a route as tests outside of the package see it.
type Operation struct{ Method, Path, Scope string }

// Operations lists the table of routes.
func Operations() []Operation {
	var out []Operation
	for _, r := range routes {
		out = append(out, Operation{r.method, r.path, string(r.scope)})
	}
	return out
}
