package server

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

// checks holds the compiled schemas of every operation in openapi.yaml. Compiling costs a hundred times what a check does, so it is done
// once, when the program starts.
var checks = mustCompile()

// operationCheck is what a request of one operation must look like.
type operationCheck struct {
	params map[string]*jsonschema.Schema // query parameters by name
	header map[string]*jsonschema.Schema // header parameters by name
	body   *jsonschema.Schema            // of the JSON body, nil if it takes none
	needed bool                          // whether the body may be absent
	scope  string                        // x-scope; the three that follow only for the test of the table
	flags  map[string]any
	method string
	path   string
}

const specURL = "openapi.json"

func mustCompile() map[string]*operationCheck {
	text, err := decodeSpec()
	if err != nil {
		panic("server: " + err.Error())
	}
	c, err := compileSpec(text)
	if err != nil {
		panic("server: " + err.Error())
	}
	for _, r := range routes {
		if c[r.operation] == nil {
			panic("server: the specification has no operation " + r.operation)
		}
	}
	return c
}

// compileSpec compiles the schemas of all operations.
func compileSpec(text []byte) (map[string]*operationCheck, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource(specURL, doc); err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	s := &specReader{doc: doc, compiler: compiler, out: map[string]*operationCheck{}}
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
	out      map[string]*operationCheck
}

func (s *specReader) operation(path, method string) error {
	at := []string{"paths", path, method}
	op := asObject(s.get(at))
	id, _ := op["operationId"].(string)
	scope, _ := op["x-scope"].(string)
	c := &operationCheck{
		params: map[string]*jsonschema.Schema{}, header: map[string]*jsonschema.Schema{},
		scope: scope, flags: op, method: strings.ToUpper(method), path: path,
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

func (s *specReader) parameter(c *operationCheck, at []string) error {
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
	}
	return nil
}

func (s *specReader) requestBody(c *operationCheck, at []string) error {
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
	c.body, err = s.compiler.Compile(pointer(at))
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

// checkQuery refuses parameters that the operation does not have, doubled ones, and values that their schema refuses.
func (c *operationCheck) checkQuery(raw string) error {
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
			return invalidField(clip(name), "there is no such parameter here")
		}
		if len(values[name]) > 1 {
			return invalidField(name, "given more than once")
		}
		if err := checkText(schema, name, values[name][0]); err != nil {
			return err
		}
	}
	return nil
}

// checkHeaders checks the header parameters that are there.
func (c *operationCheck) checkHeaders(h http.Header) error {
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
				return invalidField(name, "must be a whole number")
			}
			v = json.Number(text)
		case "boolean":
			if text != "true" && text != "false" {
				return invalidField(name, "must be true or false")
			}
			v = text == "true"
		}
	}
	if err := schema.Validate(v); err != nil {
		return invalidField(name, reason(err))
	}
	return nil
}

// checkBody checks a JSON body. An absent one is an empty object where the operation allows it.
func (c *operationCheck) checkBody(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 && !c.needed {
		return nil
	}
	v, err := strictJSON(b)
	if err != nil {
		return err
	}
	if err := c.body.Validate(v); err != nil {
		field, why := firstCause(err)
		return invalidField(field, why)
	}
	return nil
}
