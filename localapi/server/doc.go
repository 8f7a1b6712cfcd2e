// Package server answers the local API: it turns HTTP requests into calls of the agent and refuses all others. docs/localapi.md tells what callers
// meet; this is how it is built.
//
// A request passes, from the socket inwards: the listener, which knows that the other end of a Unix socket is the same user and keeps the number
// of connections bounded (listener.go); the conn, which lets net/http see only requests whose framing is beyond doubt (conn.go, head.go); net/http; the guard,
// which checks Host, origin, token, scope, type, parameters, limits and body, from one table of routes (guard.go, routes.go, spec.go); Echo and
// the code generated from openapi.yaml; and the handler of the operation, which only translates.
//
// Failures travel inwards out as errors: a handler returns a fault, the guard makes the one kind of problem there is (problem.go). A failure after the
// first byte of an answer aborts the connection, so that no client takes the beginning of a table for the whole.
package server

//go:generate oapi-codegen -config oapi-codegen.yaml ../openapi.yaml
