package pme

import "coldframe/internal/fault"

// NextPage reads the plain page at the start of pages, such as UnsealedChunk.Bytes returns, and returns what lies behind it. Body is a
// part of pages. A page of version 2, or with levels of before 2013, is fault.Policy: no writer of datasets made any.
func NextPage(pages []byte) (p Page, rest []byte, err error) {
	h, n, err := parsePageHeader(pages)
	if err != nil {
		return p, nil, err
	}
	switch {
	case h.size > int64(len(pages)-n):
		return p, nil, errThrift("a page beyond its chunk")
	case h.kind != pageData && h.kind != pageDict || h.otherLevels:
		return p, nil, fault.New(fault.Policy, "a page of type %d that is never written", h.kind)
	}
	end := n + int(h.size)
	return Page{
		Dictionary: h.kind == pageDict, Encoding: h.encoding, Values: int(h.values), RawSize: int(h.rawSize), Body: pages[n:end:end],
	}, pages[end:], nil
}
