package signed

import (
	"errors"

	"github.com/fxamacker/cbor/v2"

	"coldframe/internal/fault"
)

var (
	encMode = newEncMode()
	strict  = newDecMode(cbor.ExtraDecErrorUnknownField)
	lenient = newDecMode(cbor.ExtraDecErrorNone)
)

func newEncMode() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeUnix
	o.TagsMd = cbor.TagsForbidden
	m, err := o.EncMode()
	if err != nil {
		panic("signed: " + err.Error())
	}
	return m
}

func newDecMode(extra cbor.ExtraDecErrorCond) cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		ExtraReturnErrors: extra,
	}.DecMode()
	if err != nil {
		panic("signed: " + err.Error())
	}
	return m
}

// Marshal returns v as deterministic CBOR. It is an error if v holds what has no such form (a key, text that is not UTF-8), or is
// larger than Unmarshal takes.
func Marshal(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "value has no CBOR form")
	}
	if err := check(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Unmarshal reads deterministic CBOR into v. Bytes beyond a limit are fault.TooLarge; bytes that are not deterministic, or do not
// fit v exactly, are fault.NotAuthentic.
func Unmarshal(b []byte, v any) error { return decode(strict, b, v) }

func decode(mode cbor.DecMode, b []byte, v any) error {
	if err := check(b); err != nil {
		return err
	}
	if err := mode.Unmarshal(b, v); err != nil {
		if _, wrong := errors.AsType[*cbor.InvalidUnmarshalError](err); wrong {
			panic("signed: " + err.Error())
		}
		return fault.Wrap(fault.NotAuthentic, errShape, "not the expected kind of value")
	}
	return nil
}

// errShape stands for the decoder's own message, which may quote what it read.
var errShape = errors.New("CBOR does not fit the Go type")
