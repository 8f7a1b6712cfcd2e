package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

func TestParseKeys(t *testing.T) {
	const key = "MDEyMzQ1Njc4OTAxMjM0NQ=="
	for _, text := range []string{
		`{"kf": "` + key + `"}`, "kf=" + key, "\n kf=" + key + "\r\n\n", " \t{\"kf\":\n\"" + key + "\"}\n",
	} {
		got, err := parseKeys([]byte(text))
		if err != nil || len(got) != 1 || got[0].Id != "kf" || !bytes.Equal(got[0].Key, []byte("0123456789012345")) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "{}", "kf", "kf=", "=" + key, "kf=canary", `{"kf": "canary"}`, `{"kf": 1}`, `{"kf": "` + key, "kf=" + key[:4], "kf=" + strings.Repeat("A", 44) + "AAAA",
	} {
		if _, err := parseKeys([]byte(text)); !errors.Is(err, fault.InvalidRequest) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"kf": "MDEyMzQ1Njc4OTAxMjM0NQ=="}`))
	f.Add([]byte("kf=MDEyMzQ1Njc4OTAxMjM0NQ==\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseKeys(b)
		if err == nil && len(keys) == 0 {
			t.Fatal("no keys and no error")
		}
	})
}
