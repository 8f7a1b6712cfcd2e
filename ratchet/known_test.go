package ratchet

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Known answers of section 14 of the spec.

func rep(x byte) (k [32]byte) {
	copy(k[:], bytes.Repeat([]byte{x}, 32))
	return k
}

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s is %x, not %s", what, got, want)
	}
}

func TestKnownHandshake(t *testing.T) {
	secret := rep(5)
	list := [][32]byte{rep(1), rep(2), rep(3), rep(4)}
	k := deriveHandshake(list, &secret)
	wantHex(t, "root", k.root[:], "f8db7484c285311aba34ed2fcee24c80ab75b9e27b99c44be4e2222c29af1ced")
	wantHex(t, "chain", k.chain[:], "33b73335338c0dcfc2b22dba3b295cf7a4188c8d9e964fd9643eca3fee9e862f")
	wantHex(t, "pq", k.pq[:], "849222556b99fd51fe9ed71842124cddef3e15e531a1f67c8b542a569dd2308f")
	k = deriveHandshake(list[:3], &secret)
	wantHex(t, "root without DH4", k.root[:], "0aad9c152cb8147358654facefedef87220abc81cc8a22fe96cda64673d5e74f")
	wantHex(t, "chain without DH4", k.chain[:], "08ec3f5a2cdecd7b25b97e55ef6cac02e8e48d38f6cd47906ff7a3d746bd6715")
	wantHex(t, "pq without DH4", k.pq[:], "42ec4076dde2b8358047dc40854e754b8880290607ef8b993e116b184a82b185")
}

func TestKnownChain(t *testing.T) {
	root, agreement := rep(6), rep(7)
	root, key := rootStep(&root, &agreement)
	wantHex(t, "root", root[:], "59ad63913075ecd65cd9ec3c83978946dd0aa30e3b79e3bff33c2fa422f22e8a")
	wantHex(t, "chain key", key[:], "4108ff3c52abb9ad22e444c533209a2b30260ebc9f4b3ae61e1e1818106f9f2a")

	c := chain{key: rep(8)}
	seed := c.seed()
	c.step()
	wantHex(t, "seed", seed[:], "df031e91b9ac3caf1a08e7cbe7065d20c9c52ce0b52f8ca7e0ad25522086eb70")
	wantHex(t, "next chain key", c.key[:], "c5f3ff2a74d378feeaee6fa870ca26bb4227b5c300edb26dc174309efd687e69")
	for _, test := range []struct {
		pq   []byte
		want string
	}{
		{nil, "2f9bb9aa1165fac28e34846eac09100c970f52c99db83c92955844e519d3f4d20ae99f0f0e0ed3836d1b62f675cc3e9b467dace33a8ab357419261aa5fe5633989a9ac2dad35a89f71570a39cfe4a096"},
		{bytes.Repeat([]byte{9}, 32), "1dfce9d5d33babb5d1038ed1083ab4a281132f11eeadd37cd8bf41ebc5da3af79492e91049ae49a1b654ac20d86a0f283454563131314ed0b6d5d5e216543b4b71355bb29afa1042458e4a6be4cb4506"},
	} {
		k := deriveMessageKeys(&seed, test.pq)
		wantHex(t, "message keys", append(append(k.cipher[:], k.mac[:]...), k.iv[:]...), test.want)
	}
}
