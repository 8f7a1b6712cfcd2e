// Package localapi is the protocol of the agent's local API and its client. openapi.yaml is the contract; types and the plain client (Raw) are
// generated from it, and so is the server in localapi/server. docs/localapi.md tells the protocol in a page.
//
// A Client speaks over the agent's Unix socket, whose place, owner and peer it checks on every connection, or over TCP, where every
// connection answers a challenge before the token is sent on it (THREATS L21): a listener that took the port first learns nothing.
// Failures come back as *Error, and errors.Is(err, localapi.Locked) asks for the kind.
//
// The agent reads and writes tables as streams. Put sends a body of any length in constant memory, Get returns one; a stream that the agent
// could not finish ends in an error, never in a short success. Events follows what the agent does and resumes after an interruption.
package localapi

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml

// Version is the version of the local API, as GET /v1/status gives it. It grows by one with every change that a client could notice.
//
//	1  2026-11  account, store, apps, datasets, data, versions, events
const Version = "1"

// SocketName and TokenName are the names of the socket and of the file with the user's own token in the agent's runtime folder,
// $XDG_RUNTIME_DIR/coldframe unless configured otherwise. DefaultPort is the TCP port.
const (
	SocketName  = "agent.sock"
	TokenName   = "token"
	DefaultPort = 7878
)
