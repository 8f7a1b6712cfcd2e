package apicheck

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"coldframe/internal/fault"
)

const (
	maxDepth  = 16    // of nested objects and arrays
	maxValues = 16384 // of all kinds in a body
	maxName   = 128   // bytes of a member's name
)

// FieldError is a request that was refused because of one field, named by a JSON Pointer, or one parameter, named by its name.
type FieldError struct {
	cause *fault.Error
	Field string
}

func (e *FieldError) Error() string { return e.cause.Error() }

// Unwrap returns the failure.
func (e *FieldError) Unwrap() error { return e.cause }

// InvalidField returns the failure of a field that a schema cannot judge. An empty field is the body as a whole.
func InvalidField(field, why string) error {
	if field == "" {
		return &FieldError{fault.New(fault.InvalidRequest, "%s", why), field}
	}
	return &FieldError{fault.New(fault.InvalidRequest, "%s: %s", field, why), field}
}

// strictJSON reads one JSON value and nothing else: UTF-8, each member's name once, at most maxDepth deep.
func strictJSON(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, InvalidField("", "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	r := &jsonReader{d: d}
	v, err := r.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, InvalidField("", "the body goes on after its value")
	}
	return v, nil
}

type jsonReader struct {
	d      *json.Decoder
	values int
}

func (r *jsonReader) value(at string, depth int) (any, error) {
	t, err := r.d.Token()
	if err != nil {
		return nil, InvalidField("", "the body is not JSON")
	}
	if r.values++; r.values > maxValues {
		return nil, InvalidField("", "the body holds too many values")
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth >= maxDepth {
		return nil, InvalidField("", "the body is nested too deeply")
	}
	if delim == '{' {
		return r.object(at, depth)
	}
	return r.array(at, depth)
}

func (r *jsonReader) object(at string, depth int) (any, error) {
	m := map[string]any{}
	for r.d.More() {
		t, err := r.d.Token()
		if err != nil {
			return nil, InvalidField("", "the body is not JSON")
		}
		name, _ := t.(string)
		if len(name) > maxName {
			return nil, InvalidField(at, "a name is too long")
		}
		below := at + "/" + name
		if _, double := m[name]; double {
			return nil, InvalidField(below, "given more than once")
		}
		if m[name], err = r.value(below, depth+1); err != nil {
			return nil, err
		}
	}
	return m, r.end()
}

func (r *jsonReader) array(at string, depth int) (any, error) {
	a := []any{}
	for r.d.More() {
		v, err := r.value(at+"/"+strconv.Itoa(len(a)), depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, r.end()
}

func (r *jsonReader) end() error {
	if _, err := r.d.Token(); err != nil {
		return InvalidField("", "the body is not JSON")
	}
	return nil
}

var printer = message.NewPrinter(language.English)

// firstCause returns where a schema's innermost complaint is, as a JSON Pointer, and what it is. It never repeats the value: that may be a password.
func firstCause(err error) (field, why string) {
	v, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return "", "the body does not fit"
	}
	for len(v.Causes) > 0 {
		v = mostUseful(v.Causes)
	}
	for _, name := range v.InstanceLocation {
		field += "/" + clip(name)
	}
	return field, complaint(v.ErrorKind)
}

// mostUseful prefers the name of a field that does not exist to that of one that is missing: it is the same one, misspelt.
func mostUseful(causes []*jsonschema.ValidationError) *jsonschema.ValidationError {
	for _, c := range causes {
		if _, ok := c.ErrorKind.(*kind.AdditionalProperties); ok {
			return c
		}
	}
	return causes[0]
}

// reason is the innermost complaint alone.
func reason(err error) string {
	_, why := firstCause(err)
	return why
}

// patterns are those that people meet, in words.
var patterns = map[string]string{
	"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$": "must be an id as 00000000-0000-4000-8000-000000000000, in lower case",
	`^[0-9 \t\r\n-]*$`:       "must be digits, with spaces, line ends or hyphens between them",
	"^[0-9a-f]{32}$":         "must be 32 hexadecimal digits, in lower case",
	"^[A-Za-z0-9+/]+={0,2}$": "must be base64, with + and /",
	"^cfi_[A-Z2-7]{26}$":     "must be an invitation: cfi_ and 26 capital letters and digits",
}

// complaint says what a schema wants, in words that hold nothing of the value.
func complaint(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.AdditionalProperties:
		names := make([]string, 0, len(k.Properties))
		for _, p := range k.Properties {
			names = append(names, clip(p))
		}
		return "there is no field " + strings.Join(names, ", ")
	case *kind.Required:
		return "missing: " + strings.Join(k.Missing, ", ")
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return "must be one of the values in the specification"
	case *kind.Pattern:
		return cmp.Or(patterns[k.Want], "must match "+k.Want)
	case *kind.MinLength:
		return "must have at least " + strconv.Itoa(k.Want) + " characters"
	case *kind.MaxLength:
		return "must have at most " + strconv.Itoa(k.Want) + " characters"
	case *kind.Minimum, *kind.Maximum:
		return "out of range"
	case *kind.MinItems, *kind.MaxItems, *kind.UniqueItems:
		return k.LocalizedString(printer)
	}
	return "does not fit the specification"
}

// clip shortens text of the caller for a message.
func clip(s string) string {
	const limit = 64
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(clean) > limit {
		return strings.ToValidUTF8(clean[:limit], "") + "…"
	}
	return clean
}
