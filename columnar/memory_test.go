package columnar_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
)

// peak returns the highest resident size of the process since reset, in MiB.
func peak(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("needs Linux: ", err)
	}
	var kb int
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(after, &kb); err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

func resetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skip("cannot reset the peak: ", err)
	}
}

// TestF17_MemoryDoesNotGrow streams a table and one four times its size up and down: both peaks are below 256 MiB and alike.
// COLDFRAME_NIGHTLY=1: 1 GB and 5 GB.
func TestF17_MemoryDoesNotGrow(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies memory")
	}
	sizes := []int{64 << 20, 256 << 20}
	if os.Getenv("COLDFRAME_NIGHTLY") != "" {
		sizes = []int{1_000_000_000, 5_000_000_000}
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(160 << 20)) // the agent sets one too
	var peaks []int
	for _, size := range sizes {
		resetPeak(t)
		w := newWorld(t, folder(t), columnartest.MixedSchema)
		wr, keys, err := w.writer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g := columnartest.NewMixed(1)
		for rows := size / columnartest.RowBytes; rows > 0; rows -= 10_000 {
			b := g.Batch(10_000)
			if err := wr.Write(b); err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		parts, err := wr.Close()
		if err != nil {
			t.Fatal(err)
		}
		w.publish(keys, parts)
		up := peak(t)
		resetPeak(t)
		for _, o := range []columnar.ReadOptions{{}, {Where: where("price < 7000 AND note IS NOT NULL")}} {
			drain(t, w, o)
		}
		down := peak(t)
		fmt.Printf("columnar.rss.%dMB.up %d MiB\ncolumnar.rss.%dMB.down %d MiB\n", size/1e6, up, size/1e6, down)
		peaks = append(peaks, max(up, down))
		runtime.GC()
	}
	for i, p := range peaks {
		if p > 256 {
			t.Errorf("%d bytes: peak of %d MiB", sizes[i], p)
		}
	}
	if peaks[1] > peaks[0]+48 {
		t.Errorf("peaks of %d and %d MiB: memory grows with the table", peaks[0], peaks[1])
	}
}

// drain reads rows and keeps none.
func drain(t *testing.T, w *world, o columnar.ReadOptions) {
	t.Helper()
	r, err := columnar.NewReader(t.Context(), w.store, w.head, w, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	}
}
