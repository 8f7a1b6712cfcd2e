package chunk

import (
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// booleans collects values of one bit.
type booleans struct {
	*decoder
	out growing
}

func (v *booleans) release() { v.out.release() }

func (v *booleans) buffers(n int) []*memory.Buffer {
	return []*memory.Buffer{v.out.buffer(bytesOf(n))}
}

func (v *booleans) dictionary([]byte, int) error { return errEncoding(encodingDictionary) }

func (v *booleans) page(encoding int64, body []byte, s slotRange) error {
	v.out.grow(bytesOf(s.at+s.n)+wordBytes, bytesOf(s.more))
	if s.valid == 0 {
		return nil
	}
	switch encoding {
	case encodingPlain:
	case encodingRLE:
		b, _, err := cutLevels(body)
		if err != nil {
			return err
		}
		dense, give := v.room(&v.words, bytesOf(s.valid)+wordBytes)
		defer give()
		clear(dense)
		if err := (&runs{b: b, width: 1}).bits(dense, 0, s.valid); err != nil {
			return err
		}
		body = dense
	default:
		return errEncoding(encoding)
	}
	if len(body) < bytesOf(s.valid) {
		return errShort
	}
	if s.validity == nil {
		copyBits(v.out.b, s.at, body, 0, s.n)
		return nil
	}
	for i, j := 0, 0; i < s.n; i++ {
		if s.has(i) {
			if bitutil.BitIsSet(body, j) {
				bitutil.SetBit(v.out.b, s.at+i)
			}
			j++
		}
	}
	return nil
}

// noValues is what a column of nulls has.
type noValues struct{}

func (noValues) release() {}

func (noValues) buffers(int) []*memory.Buffer { return nil }

func (noValues) dictionary([]byte, int) error { return nil }

func (noValues) page(int64, []byte, slotRange) error { return nil }
