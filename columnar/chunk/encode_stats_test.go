package chunk_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"coldframe/columnar/pme"
	"coldframe/internal/secret"
)

// TestCountOfNaN: a chunk of plain values says how many are NaN, one with a dictionary says so only where none is.
func TestCountOfNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few, every := rapid.Bool().Draw(t, "few"), rapid.SampledFrom([]int{0, 2, 9}).Draw(t, "one in")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		b := array.NewFloat64Builder(memory.DefaultAllocator)
		want := int64(0)
		for range 2000 {
			switch {
			case every > 0 && r.IntN(every) == 0:
				b.Append(math.NaN())
				want++
			case few:
				b.Append(float64(r.IntN(5)))
			default:
				b.Append(r.NormFloat64())
			}
		}
		if few && want > 0 {
			want = -1
		}
		f := arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Float64}
		key := pme.NamedKey{ID: "k", Key: secret.Random()}
		file := sealed(t, key, f, []arrow.Array{b.NewArray()}, 1)
		keys := pme.Keys{Footer: key, Column: func(pme.Leaf) (pme.NamedKey, bool) { return key, true }}
		p, err := pme.OpenFooter(file, int64(len(file)), keys, pme.ReadOptions{AADPrefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Statistics(0, 0).NaNs; got != want {
			t.Fatalf("%d NaN, want %d", got, want)
		}
	})
}
