package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/store"
)

// toKill tells a process of the test that it is the one to be killed: a name for what it writes, the file of what was acknowledged, and the place of its store.
const toKill = "COLDFRAME_STORETEST_KILL"

// survivesAKill: a process that writes is killed without warning; what its store had acknowledged is there, and of what it had not each transaction is whole or
// not there. The process is this test once more, begun at Run.
func survivesAKill(t *testing.T, b *bench) {
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		acked := killWriter(t, b.place, round)
		b.Store = b.open(t, b.place)
		for _, k := range acked {
			b.want("x/"+k, k)
			b.want("y/"+k, k)
		}
		if x, y := len(b.below("x/")), len(b.below("y/")); x != y {
			t.Errorf("%d halves of transactions, and %d", x, y)
		}
		t.Logf("%d transactions were acknowledged", len(acked))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.Store = b.open(t, b.place)
}

func (b *bench) below(prefix string) (keys []string) {
	b.t.Helper()
	if err := b.View(context.Background(), func(tx store.Tx) error {
		return tx.ScanFrom(prefix, "", func(k string, _ []byte) error { keys = append(keys, k); return nil })
	}); err != nil {
		b.t.Fatal(err)
	}
	return keys
}

// killWriter lets another process write, kills it once it has acknowledged some, and returns what it had.
func killWriter(t *testing.T, place string, round int) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	test, _, _ := strings.Cut(t.Name(), "/")
	c := exec.Command(self, "-test.run=^"+regexp.QuoteMeta(test)+"$")
	log := filepath.Join(t.TempDir(), "acknowledged")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d\n%s\n%s", toKill, round, log, place))
	out := &bytes.Buffer{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() []string {
		text, _ := os.ReadFile(log) //nolint:errcheck // it comes later
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		return strings.Fields(string(whole))
	}
	for range 3000 {
		if len(lines()) >= 40 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Process.Kill() //nolint:errcheck // it may have ended
	c.Wait()         //nolint:errcheck // it was killed
	if len(lines()) < 40 {
		t.Fatalf("the writer acknowledged %d transactions\n%s", len(lines()), out)
	}
	return lines()
}

// toBeKilled writes until the process is killed, if this is the process for that.
func toBeKilled(t *testing.T, open Open) bool {
	all := strings.SplitN(os.Getenv(toKill), "\n", 3)
	if len(all) != 3 {
		return false
	}
	round, place := all[0], all[2]
	log, err := os.OpenFile(all[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, place)
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				k := fmt.Sprintf("%s-%d-%d", round, writer, n)
				err := s.Update(context.Background(), func(tx store.Tx) error {
					return errors.Join(tx.Set("x/"+k, []byte(k)), tx.Set("y/"+k, []byte(k)))
				})
				if err == nil {
					_, err = fmt.Fprintln(log, k)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return true
}

// copies: what goes into a transaction and what comes out of it is its caller's, to be written over.
func copies(t *testing.T, b *bench) {
	b.update(func(tx store.Tx) error {
		v := []byte("value")
		if err := tx.Set("a", v); err != nil {
			return err
		}
		copy(v, "XXXXX")
		got, err := tx.Get("a")
		if err != nil || string(got) != "value" {
			t.Errorf("what was set followed its caller: %q, %v", got, err)
		}
		copy(got, "YYYYY")
		return nil
	})
	scribble := func(tx store.Tx) error {
		got, err := tx.Get("a")
		copy(got, "ZZZZZ")
		return err
	}
	if err := errors.Join(b.View(t.Context(), scribble), b.Update(t.Context(), scribble)); err != nil {
		t.Fatal(err)
	}
	b.want("a", "value")
}
