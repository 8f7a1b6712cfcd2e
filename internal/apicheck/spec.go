// Package apicheck holds requests against an OpenAPI document, before a handler sees them: parameters and JSON bodies that the document does not know, or
// that its schemas refuse, are fault.InvalidRequest, with the place and never the value, which may be a password.
package apicheck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"coldframe/internal/fault"
)

// Operation is what a request of one operation must look like.
type Operation struct {
	Method, Path, Scope string             // the last is x-scope
	Flags               map[string]any     // everything that the document says of the operation
	Body                *jsonschema.Schema // of the JSON body, nil if it takes none

	params map[string]*jsonschema.Schema // query parameters by name
	header map[string]*jsonschema.Schema // header parameters by name
	path   map[string]*jsonschema.Schema // path parameters by name
	needed bool                          // whether the body may be absent
}

const specURL = "openapi.json"

// MustCompile is Compile for a document inside the program, which has to be right.
func MustCompile(decode func() ([]byte, error)) map[string]*Operation {
	text, err := decode()
	if err != nil {
		panic("apicheck: " + err.Error())
	}
	c, err := Compile(text)
	if err != nil {
		panic("apicheck: " + err.Error())
	}
	return c
}

// Compile compiles the schemas of all operations of a document in JSON, by operationId. It costs a hundred times what a check does.
func Compile(text []byte) (map[string]*Operation, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource(specURL, doc); err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	s := &specReader{doc: doc, compiler: compiler, out: map[string]*Operation{}}
	for path, item := range object(doc, "paths") {
		for method := range asObject(item) {
			if method != "parameters" {
				if err := s.operation(path, method); err != nil {
					return nil, fmt.Errorf("specification: %s %s: %w", method, path, err)
				}
			}
		}
	}
	return s.out, nil
}

type specReader struct {
	doc      any
	compiler *jsonschema.Compiler
	out      map[string]*Operation
}

func (s *specReader) operation(path, method string) error {
	at := []string{"paths", path, method}
	op := asObject(s.get(at))
	id, _ := op["operationId"].(string)
	scope, _ := op["x-scope"].(string)
	c := &Operation{
		params: map[string]*jsonschema.Schema{}, header: map[string]*jsonschema.Schema{}, path: map[string]*jsonschema.Schema{},
		Scope: scope, Flags: op, Method: strings.ToUpper(method), Path: path,
	}
	for _, list := range [][]string{{"paths", path, "parameters"}, append(at, "parameters")} {
		params, _ := s.get(list).([]any)
		for i := range params {
			if err := s.parameter(c, append(list[:len(list):len(list)], strconv.Itoa(i))); err != nil {
				return err
			}
		}
	}
	if err := s.requestBody(c, append(at, "requestBody")); err != nil {
		return err
	}
	s.out[id] = c
	return nil
}

func (s *specReader) parameter(c *Operation, at []string) error {
	at = s.follow(at)
	p := asObject(s.get(at))
	name, _ := p["name"].(string)
	schema, err := s.compiler.Compile(pointer(append(at, "schema")))
	if err != nil {
		return err
	}
	switch p["in"] {
	case "query":
		c.params[name] = schema
	case "header":
		c.header[name] = schema
	case "path":
		c.path[name] = schema
	}
	return nil
}

func (s *specReader) requestBody(c *Operation, at []string) error {
	if s.get(at) == nil {
		return nil
	}
	at = s.follow(at)
	c.needed, _ = asObject(s.get(at))["required"].(bool)
	at = append(at, "content", "application/json", "schema")
	if s.get(at) == nil {
		return nil
	}
	var err error
	c.Body, err = s.compiler.Compile(pointer(at))
	return err
}

// follow resolves one $ref.
func (s *specReader) follow(at []string) []string {
	ref, ok := asObject(s.get(at))["$ref"].(string)
	if !ok {
		return at
	}
	return strings.Split(strings.TrimPrefix(ref, "#/"), "/")
}

func (s *specReader) get(at []string) any {
	v := s.doc
	for _, name := range at {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func pointer(at []string) string {
	escaped := make([]string, len(at))
	for i, name := range at {
		escaped[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return specURL + "#/" + strings.Join(escaped, "/")
}

func object(v any, name string) map[string]any { return asObject(asObject(v)[name]) }

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// CheckQuery refuses parameters that the operation does not have, doubled ones, and values that their schema refuses.
func (c *Operation) CheckQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.InvalidRequest, "the query cannot be read")
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		schema, ok := c.params[name]
		if !ok {
			return InvalidField(clip(name), "there is no such parameter here")
		}
		if len(values[name]) > 1 {
			return InvalidField(name, "given more than once")
		}
		if err := checkText(schema, name, values[name][0]); err != nil {
			return err
		}
	}
	return nil
}

// CheckHeaders checks the header parameters that are there.
func (c *Operation) CheckHeaders(h http.Header) error {
	for name, schema := range c.header {
		values := h.Values(name)
		if len(values) == 0 || name == "Accept" {
			continue
		}
		if err := checkText(schema, name, strings.Join(values, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// CheckPath checks a parameter in the path.
func (c *Operation) CheckPath(name, value string) error {
	schema, ok := c.path[name]
	if !ok {
		return InvalidField(name, "there is no such parameter here")
	}
	return checkText(schema, name, value)
}

// checkText checks a parameter's text, read as its schema's type.
func checkText(schema *jsonschema.Schema, name, text string) error {
	var v any = text
	for schema.Ref != nil {
		schema = schema.Ref
	}
	if schema.Types != nil && !schema.Types.IsEmpty() {
		switch t := schema.Types.ToStrings()[0]; t {
		case "integer":
			if _, err := strconv.ParseInt(text, 10, 64); err != nil || text[0] == '+' {
				return InvalidField(name, "must be a whole number")
			}
			v = json.Number(text)
		case "boolean":
			if text != "true" && text != "false" {
				return InvalidField(name, "must be true or false")
			}
			v = text == "true"
		}
	}
	if err := schema.Validate(v); err != nil {
		return InvalidField(name, reason(err))
	}
	return nil
}

// CheckBody checks a JSON body. An absent one is an empty object where the operation allows it.
func (c *Operation) CheckBody(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 && !c.needed {
		return nil
	}
	v, err := strictJSON(b)
	if err != nil {
		return err
	}
	if err := c.Body.Validate(v); err != nil {
		field, why := firstCause(err)
		return InvalidField(field, why)
	}
	return nil
}
