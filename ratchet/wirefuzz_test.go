package ratchet

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// fuzzSlack is how much longer a message may get when it is written with all its fields.
const fuzzSlack = 64

// wireRefusal checks that an error is one that a parser of messages may give.
func wireRefusal(t *testing.T, err error) {
	t.Helper()
	switch fault.CodeOf(err) {
	case fault.NotAuthentic, fault.Policy, fault.TooLarge:
	default:
		t.Errorf("refused with %v", err)
	}
}

// What parses is the same message when it is written out with its fields in ascending order.
func FuzzSignalMessage(f *testing.F) {
	known, err := hex.DecodeString(knownSignalMessage)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(known)
	f.Add(append([]byte{0x33}, known[1:]...))
	unknown := append(wireTag(20, protoGroup), wireTag(20, protoGroupEnd)...)
	tail := slices.Concat(appendProtoBytes(nil, fieldAddresses, make([]byte, 36)), unknown, []byte{16, 0x81, 0})
	f.Add(slices.Concat(known[:len(known)-wireMACSize], tail, known[len(known)-wireMACSize:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseSignalMessage(b)
		if err != nil {
			wireRefusal(t, err)
			return
		}
		if !bytes.Equal(append(slices.Clone(m.signed), m.mac[:]...), b) {
			t.Fatal("signed part and MAC are not the message")
		}
		if len(b) > MaxMessageSize-fuzzSlack {
			return
		}
		written := appendSignalMessage(nil, &m)
		again, err := parseSignalMessage(append(slices.Clone(written), m.mac[:]...))
		if err != nil || !wireSameSignal(&m, &again) || !bytes.Equal(again.signed, written) {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
		if !bytes.Equal(appendSignalMessage(nil, &again), written) {
			t.Fatal("written in another way the second time")
		}
	})
}

func FuzzPreKeyMessage(f *testing.F) {
	fields := wirePreKeyFields()
	f.Add(slices.Concat(fields...))
	f.Add(slices.Concat(fields[:8]...))
	slices.Reverse(fields[1:])
	f.Add(append(slices.Concat(fields...), wireTag(1<<20, protoFixed32)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parsePreKeyMessage(b)
		if err != nil {
			wireRefusal(t, err)
			return
		}
		if len(b) > MaxMessageSize-fuzzSlack {
			return
		}
		written := appendPreKeyMessage(nil, &m)
		again, err := parsePreKeyMessage(written)
		if err != nil || !wireSamePreKey(&m, &again) {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
		if !bytes.Equal(appendPreKeyMessage(nil, &again), written) {
			t.Fatal("written in another way the second time")
		}
	})
}

func FuzzScannable(f *testing.F) {
	own, other := fingerprintKnown()
	f.Add(own.Scannable())
	f.Add(other.Scannable())
	f.Add(appendProtoNumber(nil, fieldScanVersion, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		version, scanned, ok := parseScannable(b)
		want := fault.KeyChanged
		switch {
		case !ok:
			want = fault.InvalidRequest
		case version != fingerprintVersion:
			want = fault.Policy
		case scanned == other:
			want = ""
		}
		if err := own.Compare(b); (err == nil) != (want == "") || err != nil && fault.CodeOf(err) != want {
			t.Fatalf("%v, want %q", err, want)
		}
		if !ok || version != fingerprintVersion {
			return
		}
		if v, again, ok := parseScannable(scanned.Scannable()); !ok || v != version || again != scanned {
			t.Fatalf("got %v, %v, want %v", again, ok, scanned)
		}
	})
}
