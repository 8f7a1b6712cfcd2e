//go:build coldframe_nullseal

package columnar

import (
	"fmt"
	"testing"

	"coldframe/columnar/pme"
)

// BenchmarkEncryptionCost compares the CPU time of writing and of reading with that of the same program whose sealer only copies:
// median of seven pairs, in turns first and second. Needs the build tag coldframe_nullseal, which no release has.
func BenchmarkEncryptionCost(tb *testing.B) {
	b := newBench(tb, 800_000)
	b.write() // warm up
	b.read(nil)
	var write, read []float64
	for i := range 7 {
		var cpu [2][2]float64 // with the null sealer and without; writing and reading
		for _, sealed := range []int{i % 2, 1 - i%2} {
			restore := func() {}
			if sealed == 0 {
				restore = pme.UseNullSealer()
			}
			_, cpu[sealed][0] = timed(b.write)
			_, cpu[sealed][1] = timed(func() { b.read(nil) })
			restore()
		}
		write, read = append(write, 100*(cpu[1][0]/cpu[0][0]-1)), append(read, 100*(cpu[1][1]/cpu[0][1]-1))
	}
	fmt.Printf("columnar.encryption.write %.2f %%\ncolumnar.encryption.read %.2f %%\n", median(write), median(read))
}
