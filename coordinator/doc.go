// Package coordinator is what an agent needs of a coordinator: the client and the wire types of openapi.yaml. docs/coordinator.md tells the protocol and
// what a coordinator learns. Nothing that a coordinator says is believed: what it hands out is sealed or signed, and checked by whoever asked.
//
// The server is coordinator/server, over coordinator/state (what the operations do) and coordinator/store (what keeps it).
package coordinator

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml
