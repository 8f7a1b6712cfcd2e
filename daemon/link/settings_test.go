package link

import (
	"errors"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

// A coordinator has one URL, however it is written: the login proof comes from it.
func TestNormalURL(t *testing.T) {
	all := Policy{AllowPlainHTTP: true}
	for want, list := range map[string][]string{
		"https://h.example":        {"https://h.example", "https://h.example:443", "https://H.Example:0443/", "HTTPS://h.example:"},
		"https://h.example:8443":   {"https://h.example:8443", "https://h.example:08443/"},
		"https://h.example:80":     {"https://h.example:80"},
		"https://xn--bcher-kva.de": {"https://bücher.de", "https://BÜCHER.de:443", "https://XN--bcher-kva.de", "https://bücher.de"},
		"https://my_host":          {"https://my_host", "https://MY_HOST:443"},
		"https://[2001:db8::1]":    {"https://[2001:DB8:0:0::1]", "https://[2001:db8::1]:443"},
		"https://[::1]:8443":       {"https://[0:0:0:0:0:0:0:1]:8443"},
		"https://192.0.2.1":        {"https://192.0.2.1:443"},
		"http://127.0.0.1":         {"http://127.0.0.1:80", "http://127.0.0.1/"},
		"http://127.0.0.1:443":     {"http://127.0.0.1:443"},
	} {
		for _, url := range append(list, want) {
			if got, err := (Settings{URL: url}).Normal(all); err != nil || got.URL != want {
				t.Errorf("%q: %q, %v", url, got.URL, err)
			}
		}
	}
	for _, url := range []string{"https://h:0", "https://h:65536", "https://h.", "https://bü\u200dcher..de", "https://" + strings.Repeat("h", 600)} {
		if _, err := (Settings{URL: url}).Normal(all); !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("%q: %v", url, err)
		}
	}
}
