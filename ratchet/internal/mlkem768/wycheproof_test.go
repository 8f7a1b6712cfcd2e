package mlkem768

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/outside"
)

// vector is a case of Project Wycheproof's two files: keys of 64-byte seeds and ciphertexts for them, or keys of the other side and m.
type vector struct {
	TcID                        int
	Comment, Seed, Ek, M, C, K  string
	Result                      string
	seed, ek, m, ciphertext, ss []byte
}

func (v *vector) valid() bool { return v.Result == "valid" }

func readVectors(t *testing.T, name string) (all []vector) {
	t.Helper()
	var file struct {
		TestGroups []struct {
			ParameterSet string
			Tests        []vector
		}
	}
	if err := json.Unmarshal(outside.Wycheproof(t, name), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.TestGroups {
		if g.ParameterSet != "ML-KEM-768" {
			t.Fatalf("vectors of %s", g.ParameterSet)
		}
		all = append(all, g.Tests...)
	}
	for i := range all {
		v := &all[i]
		v.seed, v.ek, v.m, v.ciphertext, v.ss = unhex(t, v.Seed), unhex(t, v.Ek), unhex(t, v.M), unhex(t, v.C), unhex(t, v.K)
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWycheproofDecapsulate(t *testing.T) {
	all := readVectors(t, "mlkem_768_test.json")
	passed := 0
	for i := range all {
		v := &all[i]
		shared, err := decapsulate(v)
		switch {
		case !v.valid() && !errors.Is(err, fault.NotAuthentic):
			t.Errorf("case %d (%s): %v", v.TcID, v.Comment, err)
		case v.valid() && (err != nil || string(shared[:]) != string(v.ss)):
			t.Errorf("case %d (%s): %x, want %x; %v", v.TcID, v.Comment, shared, v.ss, err)
		default:
			passed++
		}
	}
	t.Logf("Wycheproof: %d vectors run, %d passed", len(all), passed)
	if len(all) == 0 {
		t.Error("no vectors run")
	}
}

// decapsulate opens the ciphertext of a vector and compares its public key.
func decapsulate(v *vector) (shared [SecretSize]byte, err error) {
	k, err := FromSeed(v.seed)
	if err != nil {
		return shared, err
	}
	header, t := k.Header(), k.Vector()
	if string(t[:])+string(header[:rhoSize]) != string(v.ek) {
		return shared, errors.New("another public key")
	}
	cut := min(C1Size, len(v.ciphertext))
	return k.Decapsulate(v.ciphertext[:cut], v.ciphertext[cut:])
}

// Keys of a wrong length have no header and vector to begin with: a caller cannot even say them, so they are counted apart.
func TestWycheproofEncapsulate(t *testing.T) {
	all := readVectors(t, "mlkem_768_encaps_test.json")
	run, passed, unsayable := 0, 0, 0
	for i := range all {
		v := &all[i]
		if !v.valid() && len(v.ek) != VectorSize+rhoSize {
			unsayable++
			continue
		}
		run++
		shared, ciphertext, err := encapsulate(v)
		refuse := !v.valid() || v.Comment == "Zero secret and error" // FIPS 203 allows a vector of zeros, we do not
		switch {
		case refuse && !errors.Is(err, fault.NotAuthentic):
			t.Errorf("case %d (%s): %v", v.TcID, v.Comment, err)
		case !refuse && (err != nil || string(shared) != string(v.ss) || string(ciphertext) != string(v.ciphertext)):
			t.Errorf("case %d (%s): another secret or ciphertext; %v", v.TcID, v.Comment, err)
		default:
			passed++
		}
	}
	t.Logf("Wycheproof: %d vectors run, %d passed (the vector of zeros is refused); %d more have keys of lengths that the arguments cannot have",
		run, passed, unsayable)
	if run == 0 {
		t.Error("no vectors run")
	}
}

// encapsulate makes both halves for the key of a vector.
func encapsulate(v *vector) (shared, ciphertext []byte, err error) {
	t, m := [VectorSize]byte(v.ek), [MSize]byte(v.m)
	header := headerOf(v.ek[VectorSize:], &t)
	c1, ss := EncapsulateFirst(&header, &m)
	c2, err := EncapsulateSecond(&header, &m, &t)
	return ss[:], append(c1[:], c2[:]...), err
}
