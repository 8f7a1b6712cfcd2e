package ratchet

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

func fingerprintKnown() (own, other Fingerprint) {
	a, b := [32]byte(wireRep(0x21, 32)), [32]byte(wireRep(0x22, 32))
	return SafetyNumber(a, wireSeq(0, 16), b, wireSeq(0x10, 16)), SafetyNumber(b, wireSeq(0x10, 16), a, wireSeq(0, 16))
}

// Section 14.
func TestKnownAnswersOfSafetyNumber(t *testing.T) {
	const digits = "100182963255319928408649240052149359883049664535396062804487"
	const scannable = "080212220a207655d2a8a2b4504e6a8034a1f2fbb76a0ca6d288705d229c5c71df47f794575e1a220a20b5a74ff1f78c" +
		"67b8ffee0ad85e93208093b6efa3eec9bf18f4d65e793a87518a"
	own, other := fingerprintKnown()
	if own.Digits() != digits || other.Digits() != digits {
		t.Errorf("digits %s and %s, want %s", own.Digits(), other.Digits(), digits)
	}
	if got := hex.EncodeToString(own.Scannable()); got != scannable {
		t.Errorf("scannable %s, want %s", got, scannable)
	}
}

func TestSafetyNumbersAgreeForTheSameTwo(t *testing.T) {
	own, other := fingerprintKnown()
	if err := own.Compare(other.Scannable()); err != nil {
		t.Error(err)
	}
	if err := other.Compare(own.Scannable()); err != nil {
		t.Error(err)
	}
}

// The number changes with every key and id, and one's own code is not the other's.
func TestSafetyNumbersDiffer(t *testing.T) {
	own, other := fingerprintKnown()
	a, b := [32]byte(wireRep(0x21, 32)), [32]byte(wireRep(0x22, 32))
	changed := a
	changed[31] ^= 1
	for i, f := range []Fingerprint{
		own,
		SafetyNumber(b, wireSeq(0x10, 16), changed, wireSeq(0, 16)),
		SafetyNumber(changed, wireSeq(0x10, 16), a, wireSeq(0, 16)),
		SafetyNumber(b, wireSeq(0x10, 16), a, wireSeq(1, 16)),
		SafetyNumber(b, wireSeq(0x11, 16), a, wireSeq(0, 16)),
		{local: other.local},
		{remote: other.remote},
	} {
		if err := own.Compare(f.Scannable()); !errors.Is(err, fault.KeyChanged) {
			t.Errorf("%d: %v", i, err)
		}
		if i > 0 && f.Digits() == own.Digits() {
			t.Errorf("%d: the same digits", i)
		}
	}
}

func TestScannedCodesOfOtherFormsAreRefused(t *testing.T) {
	own, other := fingerprintKnown()
	version := func(v uint32) []byte { return appendProtoNumber(nil, fieldScanVersion, v) }
	local, remote := appendScanHash(nil, fieldScanLocal, &other.local), appendScanHash(nil, fieldScanRemote, &other.remote)
	short := []byte{0x1a, 0x21, 0x0a, 0x1f}
	cases := []struct {
		name string
		b    []byte
		want fault.Code
	}{
		{"version 1", slices.Concat(version(1), local, remote), fault.Policy},
		{"version 3 of another form", version(3), fault.Policy},
		{"empty", nil, fault.InvalidRequest},
		{"no version", slices.Concat(local, remote), fault.InvalidRequest},
		{"one hash", slices.Concat(version(2), local), fault.InvalidRequest},
		{"short hash", slices.Concat(version(2), local, short, make([]byte, 31)), fault.InvalidRequest},
		{"text", []byte(own.Digits()), fault.InvalidRequest},
		{"cut off", other.Scannable()[:73], fault.InvalidRequest},
		{"too long", slices.Concat(version(2), local, remote, appendProtoBytes(nil, 9, make([]byte, maxScanned))), fault.InvalidRequest},
	}
	for _, c := range cases {
		wireFault(t, c.name, own.Compare(c.b), c.want)
	}
	if err := own.Compare(slices.Concat(remote, appendProtoBytes(nil, 9, nil), local, version(2))); err != nil {
		t.Errorf("in another order, with an unknown field: %v", err)
	}
}

func TestDigitsKeepTheirZeros(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Fingerprint{local: wireDrawKey(t), remote: wireDrawKey(t)}
		digits := f.Digits()
		if len(digits) != 60 || digits[:30] > digits[30:] || (Fingerprint{f.remote, f.local}).Digits() != digits {
			t.Fatalf("digits %s", digits)
		}
	})
}

func TestSafetyNumberAllocatesNothing(t *testing.T) {
	var a, b [32]byte
	id := make([]byte, 16)
	if n := testing.AllocsPerRun(3, func() { a[0] = SafetyNumber(a, id, b, id).local[0] }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSafetyNumber(b *testing.B) {
	var key [32]byte
	id := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		SafetyNumber(key, id, key, id)
	}
}
