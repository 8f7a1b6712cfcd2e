package server

import (
	"net/http"
	"strconv"
	"strings"

	"coldframe/columnar/format"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

const maxAccept = 64 // media ranges in one Accept

// offered lists what GET …/data can answer with, the default first: it wins where weights are equal.
var offered = []format.Kind{format.CSV, format.Arrow, format.NDJSON, format.Parquet}

// chooseFormat picks the format of an answer: the one that ?format= names, else the one that Accept likes best, else CSV. An Accept that
// cannot be read is refused.
func chooseFormat(name string, accept []string) (format.Kind, error) {
	if name != "" {
		return format.FromName(name)
	}
	header := strings.Join(accept, ",")
	if strings.Trim(header, " \t,") == "" {
		return format.CSV, nil
	}
	ranges, err := parseAccept(header)
	if err != nil {
		return "", err
	}
	var best format.Kind
	bestQ := 0
	for _, k := range offered {
		if q := quality(ranges, k.MediaType()); q > bestQ {
			best, bestQ = k, q
		}
	}
	if bestQ == 0 {
		e := &statusError{cause: fault.New(fault.UnsupportedMediaType, "none of the types in Accept can be had")}
		e.status = http.StatusNotAcceptable
		for _, k := range offered {
			e.accepted = append(e.accepted, k.MediaType())
		}
		return "", e
	}
	return best, nil
}

// mediaRange is one element of Accept (RFC 9110, section 12.5.1) with its weight in thousandths.
type mediaRange struct {
	main, sub string
	q         int
}

// quality returns the weight that the most specific range gives to a type, 0 if none fits.
func quality(ranges []mediaRange, mediaType string) int {
	main, sub, _ := strings.Cut(mediaType, "/")
	q, specific := 0, -1
	for _, r := range ranges {
		level := -1
		switch {
		case r.main == main && r.sub == sub:
			level = 2
		case r.main == main && r.sub == "*":
			level = 1
		case r.main == "*":
			level = 0
		}
		if level > specific || level == specific && level >= 0 && r.q > q {
			q, specific = r.q, level
		}
	}
	return q
}

// parseAccept reads the ranges. Parameters other than q are ignored.
func parseAccept(header string) ([]mediaRange, error) {
	bad := apicheck.InvalidField("Accept", "cannot be read")
	var out []mediaRange
	for part := range strings.SplitSeq(header, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue
		}
		if len(out) == maxAccept {
			return nil, bad
		}
		fields := strings.Split(part, ";")
		main, sub, ok := strings.Cut(strings.ToLower(strings.Trim(fields[0], " \t")), "/")
		if !ok || !isToken(main) || !isToken(sub) || main == "*" && sub != "*" {
			return nil, bad
		}
		r := mediaRange{main, sub, 1000}
		for _, f := range fields[1:] {
			name, value, _ := strings.Cut(strings.Trim(f, " \t"), "=")
			if strings.EqualFold(name, "q") {
				if r.q, ok = weight(value); !ok {
					return nil, bad
				}
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// weight reads a qvalue: 0 to 1 with at most three decimals, in thousandths.
func weight(s string) (int, bool) {
	whole, decimals, _ := strings.Cut(s, ".")
	if len(decimals) > 3 || strings.Trim(decimals, "0123456789") != "" || whole != "0" && whole != "1" {
		return 0, false
	}
	n, err := strconv.Atoi(whole + (decimals + "000")[:3])
	return n, err == nil && n <= 1000
}
