package ratchet

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

func TestAgreementIsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		private, public := wireDrawKey(t), wireDrawKey(t)
		k, err := ecdh.X25519().NewPrivateKey(private[:])
		if err != nil {
			t.Fatal(err)
		}
		u, err := ecdh.X25519().NewPublicKey(public[:])
		if err != nil {
			t.Fatal(err)
		}
		want, refused := k.ECDH(u)
		got, err := agree(&private, &public)
		if (err != nil) != (refused != nil) || err == nil && string(want) != string(got[:]) {
			t.Fatalf("got %x, %v, want %x, %v", got, err, want, refused)
		}
	})
}

func TestKeyPairs(t *testing.T) {
	for range 20 {
		a, publicA := newKeyPair(rand.Reader)
		b, publicB := newKeyPair(rand.Reader)
		k, err := ecdh.X25519().NewPrivateKey(a[:])
		if err != nil || string(k.PublicKey().Bytes()) != string(publicA[:]) {
			t.Fatalf("the public key of %x is not %x, or %v", a, publicA, err)
		}
		if a[0]&7 != 0 || a[31]>>6 != 1 {
			t.Errorf("%x is not clamped", a)
		}
		ab, err := agree(&a, &publicB)
		if err != nil {
			t.Fatal(err)
		}
		if ba, err := agree(&b, &publicA); err != nil || ab != ba {
			t.Errorf("%x and %x, %v", ab, ba, err)
		}
		for _, public := range []*[32]byte{&publicA, &publicB} {
			if err := checkBaseKey(public); err != nil {
				t.Errorf("an honest key is refused: %v", err)
			}
		}
	}
}

// curveTorsion returns a point of order 8: a multiple by L of a point that is not in the subgroup.
func curveTorsion(t *testing.T) *edwards25519.Point {
	t.Helper()
	for y := byte(2); y < 100; y++ {
		p, err := new(edwards25519.Point).SetBytes(append([]byte{y}, make([]byte, 31)...))
		if err != nil {
			continue
		}
		q := new(edwards25519.Point).ScalarMult(minusOne, p)
		q.Add(q, p)
		four := new(edwards25519.Point).Add(q, q)
		four.Add(four, four)
		if four.Equal(edwards25519.NewIdentityPoint()) == 0 {
			return q
		}
	}
	t.Fatal("no point of order 8 found")
	return nil
}

// A public key with a component of order 2, 4 or 8 agrees on the same secrets as the key without it: another form of the same key. The
// component alone is a key that agrees on zero.
func TestKeysWithTorsionAreRefused(t *testing.T) {
	torsion := curveTorsion(t)
	private, honest := newKeyPair(rand.Reader)
	other, _ := newKeyPair(rand.Reader)
	want, err := agree(&other, &honest)
	if err != nil {
		t.Fatal(err)
	}
	p := new(edwards25519.Point).ScalarBaseMult(scalar(private[:]))
	component := edwards25519.NewIdentityPoint()
	for i := 1; i < 8; i++ {
		component.Add(component, torsion)
		small := [32]byte(component.BytesMontgomery())
		wireFault(t, "small order", checkBaseKey(&small), fault.NotAuthentic)
		_, err := agree(&other, &small)
		wireFault(t, "agreement with small order", err, fault.NotAuthentic)

		mixed := [32]byte(new(edwards25519.Point).Add(p, component).BytesMontgomery())
		wireFault(t, "torsion", checkBaseKey(&mixed), fault.NotAuthentic)
		if got, err := agree(&other, &mixed); err != nil || got != want {
			t.Errorf("component %d changes the secret: this test shows nothing", i)
		}
	}
	component.Add(component, torsion)
	again := [32]byte(component.Add(component, p).BytesMontgomery())
	if err := checkBaseKey(&again); again != honest || err != nil {
		t.Errorf("eight times the torsion does not come back to the key: %v", err)
	}
}

func TestKeysThatAreNotCanonicalAreRefused(t *testing.T) {
	for range 20 {
		private, public := newKeyPair(rand.Reader)
		top := public
		top[31] |= 0x80
		wireFault(t, "top bit", checkBaseKey(&top), fault.NotAuthentic)
		same, err := agree(&private, &top)
		if want, _ := agree(&private, &public); err != nil || same != want {
			t.Error("the top bit changes the secret: this test shows nothing")
		}
	}
	for low := range 19 { // p + 0 … p + 18
		u := [32]byte(wireRep(0xff, 32))
		u[0], u[31] = byte(0xed+low), 0x7f
		wireFault(t, "above p", checkBaseKey(&u), fault.NotAuthentic)
		u[31] = 0xff
		wireFault(t, "above p with the top bit", checkBaseKey(&u), fault.NotAuthentic)
	}
	minusOne := [32]byte(wireRep(0xff, 32))
	minusOne[0], minusOne[31] = 0xec, 0x7f
	wireFault(t, "u = -1 has no Edwards form", checkBaseKey(&minusOne), fault.NotAuthentic)
}

// curveSquare reports whether u³ + 486662u² + u is a square: whether u is on the curve and not on its twist.
func curveSquare(t *rapid.T, public [32]byte) bool {
	u, err := new(field.Element).SetBytes(public[:])
	if err != nil {
		t.Fatal(err)
	}
	one := new(field.Element).One()
	a := new(field.Element).Mult32(one, 486662)
	v := new(field.Element).Add(u, a)
	v.Multiply(v, u).Add(v, one).Multiply(v, u)
	_, square := new(field.Element).SqrtRatio(v, one)
	return square == 1
}

// Of numbers drawn at random half are on the twist, and of the others an eighth is in the subgroup.
func TestKeysOnTheTwistAreRefused(t *testing.T) {
	var curve, twist, accepted int
	rapid.Check(t, func(t *rapid.T) {
		u := [32]byte(rapid.SliceOfN(rapid.Uint8(), 32, 32).Draw(t, "u"))
		u[31] &= 0x3f
		err := checkBaseKey(&u)
		switch {
		case !curveSquare(t, u):
			twist++
			if fault.CodeOf(err) != fault.NotAuthentic {
				t.Fatalf("%x is on the twist: %v", u, err)
			}
		case err == nil:
			accepted++
			fallthrough
		default:
			curve++
		}
	})
	t.Logf("%d on the twist, %d on the curve, %d of these accepted", twist, curve, accepted)
	if twist == 0 || curve == 0 || accepted == curve {
		t.Error("the numbers drawn show nothing")
	}
}

func TestAgreementAllocatesNothing(t *testing.T) {
	private, public := newKeyPair(rand.Reader)
	n := testing.AllocsPerRun(10, func() {
		s, err := agree(&private, &public)
		if err != nil {
			t.Fatal(err)
		}
		private[0] ^= s[0] & 8
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCurve(b *testing.B) {
	private, public := newKeyPair(rand.Reader)
	b.Run("agree", func(b *testing.B) {
		for b.Loop() {
			_, _ = agree(&private, &public)
		}
	})
	b.Run("agree by crypto/ecdh", func(b *testing.B) {
		for b.Loop() {
			k, _ := ecdh.X25519().NewPrivateKey(private[:])
			u, _ := ecdh.X25519().NewPublicKey(public[:])
			_, _ = k.ECDH(u)
		}
	})
	b.Run("newKeyPair", func(b *testing.B) {
		for b.Loop() {
			newKeyPair(rand.Reader)
		}
	})
	b.Run("newKeyPair by crypto/ecdh", func(b *testing.B) {
		for b.Loop() {
			_, _ = ecdh.X25519().GenerateKey(rand.Reader)
		}
	})
	b.Run("checkBaseKey", func(b *testing.B) {
		for b.Loop() {
			_ = checkBaseKey(&public)
		}
	})
}
