package coordinatortest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"coldframe/coordinator"
	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
)

// Branch is one history, with a server of its own.
type Branch struct {
	c         *Coordinator
	transport *http.Transport

	change sync.Mutex // held while the server is started or ended

	mu    sync.Mutex
	first string // folder
	dir   string // folder of now
	lives int    // that were ended by Kill
	url   string
	alive context.Context //nolint:containedctx // ends with the server; nil while there is none
	store store.Store
	state *state.State
	end   func() // ends the server and waits for it
}

// branch makes a branch with an empty folder and no server yet.
func (c *Coordinator) branch() *Branch {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := filepath.Join(c.dir, fmt.Sprintf("branch%d", c.forks))
	b := &Branch{c: c, transport: &http.Transport{DisableCompression: true}, first: dir, dir: dir}
	c.forks++
	c.all = append(c.all, b)
	return b
}

// State is what the branch knows, for tests that look or change something behind the API's back. It is another one after a restart.
func (b *Branch) State() *state.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Start starts the server, over what is in the branch's folder. One that runs goes on.
func (b *Branch) Start() {
	b.change.Lock()
	defer b.change.Unlock()
	if b.alive != nil {
		return
	}
	t := b.c.t
	st, err := badgerstore.Open(b.dir, badgerstore.Options{})
	if err != nil {
		t.Errorf("start the coordinator: %v", err)
		return
	}
	s, err := state.New(context.Background(), st, b.c.state)
	if err != nil {
		t.Errorf("start the coordinator: %v", err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Errorf("start the coordinator: %v", err)
		return
	}
	b.run(st, s, l)
}

func (b *Branch) run(st store.Store, s *state.State, l net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.New(s, b.c.server).Serve(ctx, l); err != nil {
			b.c.t.Errorf("the coordinator ended: %v", err)
		}
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.url, b.alive, b.store, b.state = "http://"+l.Addr().String(), ctx, st, s
	b.end = func() {
		stop()
		b.transport.CloseIdleConnections()
		<-done
	}
}

// Stop ends the server in order. Until Start nobody is answered.
func (b *Branch) Stop() {
	b.change.Lock()
	defer b.change.Unlock()
	if st := b.down(); st != nil {
		if err := st.Close(); err != nil {
			b.c.t.Errorf("stop the coordinator: %v", err)
		}
	}
}

// down ends the server and returns its store, nil if there was none.
func (b *Branch) down() store.Store {
	b.mu.Lock()
	end, st := b.end, b.store
	b.alive, b.end, b.store = nil, nil, nil
	b.mu.Unlock()
	if end == nil {
		return nil
	}
	end()
	return st
}

// Restart stops the server in order and starts it again.
func (b *Branch) Restart() {
	b.Stop()
	b.Start()
}

// Kill ends the server out of order: connections break, and the store is not closed but left as it lies in its folder at that moment. Transactions are
// committed or not; one that was in work may be either. Until Start nobody is answered.
func (b *Branch) Kill() {
	b.change.Lock()
	defer b.change.Unlock()
	b.c.Cut()
	st := b.down()
	if st == nil {
		return
	}
	b.lives++
	left := fmt.Sprintf("%s-after-%d", b.first, b.lives)
	if err := copyQuiet(b.dir, left); err != nil {
		b.c.t.Errorf("kill the coordinator: %v", err)
	}
	old := b.dir
	b.c.ending.Go(func() {
		st.Close()        //nolint:errcheck // nobody looks at it any more
		os.RemoveAll(old) //nolint:errcheck // of a test
	})
	b.dir = left
}

// Fork returns a branch that begins as a copy of this one, sessions included, with its server started. This one has to run.
func (b *Branch) Fork() *Branch {
	t := b.c.t
	f := b.c.branch()
	st, err := badgerstore.Open(f.dir, badgerstore.Options{})
	if err != nil {
		t.Errorf("fork: %v", err)
		return f
	}
	err = store.Restore(context.Background(), st, bytes.NewReader(b.Backup()), func(string) bool { return true })
	if err != nil {
		t.Errorf("fork: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Errorf("fork: %v", err)
	}
	f.Start()
	return f
}

// Backup returns all that the branch stored, as it lies in the store: the names, the numbers and the sealed bytes.
func (b *Branch) Backup() []byte {
	b.mu.Lock()
	st := b.store
	b.mu.Unlock()
	var out bytes.Buffer
	if st == nil {
		return nil
	}
	if err := store.Backup(context.Background(), st, &out); err != nil {
		b.c.t.Errorf("backup: %v", err)
	}
	return out.Bytes()
}

// Disable turns an account off, or on again.
func (b *Branch) Disable(user coordinator.UserID, disabled bool) {
	if err := b.State().Disable(context.Background(), state.UserID(user), disabled); err != nil {
		b.c.t.Errorf("disable: %v", err)
	}
}

// copyQuiet copies a folder in which nothing is written any more, but in which the store may still tidy up.
func copyQuiet(from, to string) error {
	for {
		before := listing(from)
		err := copyFolder(from, to)
		if before == listing(from) {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

func listing(dir string) (s string) {
	list, err := os.ReadDir(dir)
	for _, f := range list {
		if i, err := f.Info(); err == nil {
			s += fmt.Sprintln(i.Name(), i.Size(), i.ModTime())
		}
	}
	return fmt.Sprintln(s, err)
}

// copyFolder copies the files of a folder without their holes: the store's are mostly empty.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		return copyFile(path, filepath.Join(to, name))
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	block, zeros, size := make([]byte, 64<<10), make([]byte, 64<<10), int64(0)
	for {
		n, err := io.ReadFull(in, block)
		if !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}
