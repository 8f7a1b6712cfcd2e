package spqr

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The known answers of section 14 of the protocol notes.

func rep(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func rep32(b byte) *[32]byte { return (*[32]byte)(rep(b, 32)) }

func wantHex(t *testing.T, what string, got [32]byte, want string) {
	t.Helper()
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("%s: %x, want %s", what, got, want)
	}
}

func TestKnownChain(t *testing.T) {
	a, b := newChain(rep32(0x0a), A2B), newChain(rep32(0x0a), B2A)
	wantHex(t, "next_root", a.nextRoot, "cb04ed5da338808b9b423980a80851f87fcc3a60f047ce4b89e00ff550e3e034")
	wantSend(t, &a, 0, 1, "c547a182660a9212f3df890ebf843a22e800c139085c3137adf6d102209dd8fd")
	wantSend(t, &a, 0, 2, "c3d27d6c15d8eb2a2405d64b00ff2073a29cd5e5ea4917ec132406448ab5e3b6")
	wantReceive(t, &a, 0, 1, "48dadf49f77eff7f3b004d0b1862fdaa24b0fae0747dd1d98e1c8c47358c3f74")
	wantReceive(t, &b, 0, 2, "c3d27d6c15d8eb2a2405d64b00ff2073a29cd5e5ea4917ec132406448ab5e3b6")
	wantReceive(t, &b, 0, 1, "c547a182660a9212f3df890ebf843a22e800c139085c3137adf6d102209dd8fd")
	wantSend(t, &b, 0, 1, "48dadf49f77eff7f3b004d0b1862fdaa24b0fae0747dd1d98e1c8c47358c3f74")
	a.addEpoch(rep32(0x0b))
	b.addEpoch(rep32(0x0b))
	wantHex(t, "next_root", a.nextRoot, "524d7137cbee8f4bc96c402bbf3814060ec4fd61fc771dd5b9fddf4e8595a792")
	wantSend(t, &a, 1, 1, "805a2a5f3d197bbfec25b2f2a2bab5f2ced4d48e6503ae7d99459109f5837986")
	wantReceive(t, &a, 1, 1, "31fefc1b6595b13fb0d315a120544a280ba052915f12f89a30be8fd56fa43c5a")
	wantReceive(t, &b, 1, 1, "805a2a5f3d197bbfec25b2f2a2bab5f2ced4d48e6503ae7d99459109f5837986")
	wantSend(t, &b, 1, 1, "31fefc1b6595b13fb0d315a120544a280ba052915f12f89a30be8fd56fa43c5a")
}

func wantSend(t *testing.T, c *chain, epoch uint64, number uint32, want string) {
	t.Helper()
	n, key := c.sendKey(epoch)
	if n != number {
		t.Errorf("key number %d, want %d", n, number)
	}
	wantHex(t, "send key", key, want)
}

func wantReceive(t *testing.T, c *chain, epoch uint64, number uint32, want string) {
	t.Helper()
	key, err := c.receiveKey(epoch, number, new(uint32(maxJump)))
	if err != nil {
		t.Error(err)
	}
	wantHex(t, "receive key", key, want)
}

func TestKnownAuthenticator(t *testing.T) {
	a := newAuthenticator(rep32(0x0a))
	wantHex(t, "root", a.root, "a7d7fc0df8dddb861ad9808a7f81a778d05d4b85765c027b5b2b038e09ff59be")
	wantHex(t, "mac", a.mac, "63a6bc7d4ec5a5723cf5b30bca4a5d1802c9a3c6a48f379a97000c124114698a")
	wantHex(t, "MacHdr", a.macHeader(1, rep(0x0c, 64)), "32bd94f7f2daa4950d5937130fba02dcfdd7e3b9f433d3bb1e0945e7ca8a1cf2")
	a = a.update(1, rep32(0x0b))
	wantHex(t, "root", a.root, "961e57886cb71338b717e7d7434f306da143d568bd861888cc7266fcef709472")
	wantHex(t, "mac", a.mac, "7e0f998be3492aa40ba74b1d2d16e983fdf5afed3b2d9bc268c7772c5d9699b7")
	wantHex(t, "MacCt", a.macCiphertext(1, rep(0x0d, 960), rep(0x0d, 128)), "b7964519842384032ccf0852dfab89c5e5f13758a8440cc9593c8260e69e6f5d")
	wantHex(t, "S_1", epochSecret(1, rep32(0x0e)), "d4495a67f58a363d01bdc0e9ead8efc220e17eb38a19c886cfa49d9d1e236eba")
}

// The header in the known SignalMessage.
func TestKnownHeader(t *testing.T) {
	b := append([]byte{1, 1, 1, 1, 0}, rep(0x24, 32)...)
	h, err := parseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	want := header{epoch: 1, number: 1, payload: payloadHeader, chunk: 0, data: *rep32(0x24)}
	if h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
	if got := want.appendTo([]byte{9}); !bytes.Equal(got, append([]byte{9}, b...)) {
		t.Errorf("encoded as %x", got)
	}
}
