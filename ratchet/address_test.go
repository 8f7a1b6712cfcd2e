package ratchet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAddressFieldHoldsBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []byte
		var ends [2]Address
		for i := range ends {
			uuid := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")
			kind := rapid.ByteRange(0, 1).Draw(t, "kind")
			ends[i].Device = rapid.Uint8Range(1, 127).Draw(t, "device")
			ends[i].Name = fmt.Sprintf("%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:])
			if rapid.Bool().Draw(t, "upper case") {
				ends[i].Name = strings.ToUpper(ends[i].Name)
			}
			if kind == kindPhoneNumber {
				ends[i].Name = "PNI:" + ends[i].Name
			}
			want = slices.Concat(want, []byte{kind}, uuid, []byte{ends[i].Device})
		}
		if got := addressField(ends[0], ends[1]); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestAddressesThatAreNoServiceIDs(t *testing.T) {
	const uuid = "9d0652a3-dcc3-4d11-975f-74d61598733f"
	sound := Address{uuid, 1}
	if got := addressField(sound, sound); len(got) != 36 {
		t.Fatalf("got %x for a sound pair", got)
	}
	for _, a := range []Address{
		{},
		{uuid, 0},
		{uuid, 128},
		{"alice", 1},
		{uuid[:35], 1},
		{uuid + "0", 1},
		{"ACI:" + uuid, 1},
		{"pni:" + uuid, 1},
		{"PNI:", 1},
		{"PNI:PNI:" + uuid, 1},
		{strings.ReplaceAll(uuid, "-", ""), 1},
		{"{" + uuid[1:35] + "}", 1},
		{strings.Replace(uuid, "9", "g", 1), 1},
		{strings.Replace(uuid, "a3-", "-a3", 1), 1},
		{strings.Replace(uuid, "d0", "-0", 1), 1},
		{strings.ReplaceAll(uuid, "-", "0"), 1},
	} {
		if addressField(a, sound) != nil || addressField(sound, a) != nil {
			t.Errorf("%+v is taken for a service id", a)
		}
	}
}
