package main

import (
	"errors"
	"strings"
)

// queryError is a failure that the user is told.
type queryError struct {
	Code string `json:"code"` // of the agent's errors
	Text string `json:"text"`
}

func (e *queryError) Error() string { return e.Text }

func refuse(text string) error { return &queryError{Code: "invalid_request", Text: text} }
func forbid(text string) error { return &queryError{Code: "policy", Text: text} }

// known are the errors of DuckDB that the statement or the data it is about make; all others are ours.
var known = map[string]string{
	"Parser": "invalid_request", "Syntax": "invalid_request", "Binder": "invalid_request", "Catalog": "invalid_request", "Conversion": "invalid_request",
	"Invalid Input": "invalid_request", "Out of Range": "invalid_request", "Mismatch Type": "invalid_request", "Not implemented": "invalid_request",
	"Invalid type": "invalid_request", "Decimal": "invalid_request", "Divide by Zero": "invalid_request", "Parameter Not Resolved": "invalid_request",
	"Expression": "invalid_request", "Permission": "policy", "Out of Memory": "too_large",
}

// duckError gives the text of DuckDB its code.
func duckError(text string) error {
	kind, rest, _ := strings.Cut(text, " Error: ")
	code, ok := known[kind]
	if !ok {
		return &queryError{Code: "internal", Text: "the engine failed: " + kind}
	}
	if code == "too_large" {
		rest = "the query needs more memory than it may have"
	}
	return &queryError{Code: code, Text: oneLine(rest)}
}

// oneLine leaves out the picture of the place in the statement, which DuckDB draws below its words.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n\nLINE ")
	return strings.Join(strings.Fields(text), " ")
}

func asQueryError(err error) *queryError {
	if q, ok := errors.AsType[*queryError](err); ok {
		return q
	}
	return &queryError{Code: "internal", Text: "the engine failed"}
}
