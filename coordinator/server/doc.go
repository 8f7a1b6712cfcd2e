// Package server answers agents over HTTP: it turns requests into calls of coordinator/state and refuses all others. docs/coordinator.md tells what
// callers meet.
//
// A request passes net/http with its time limits; the guard, which looks it up in one table of routes and checks token, rate, type, parameters, length and
// body (guard.go, routes.go); Echo and the code generated from openapi.yaml; and the handler of the operation, which only translates. Failures travel
// inwards out as errors, and the guard makes the one kind of problem there is (problem.go). Logs name the operation, the user's id and the outcome, and
// nothing that a caller sent.
package server

//go:generate oapi-codegen -config oapi-codegen.yaml ../openapi.yaml
