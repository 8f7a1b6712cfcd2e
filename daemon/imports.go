package daemon

import (
	"context"
	"sync"
	"time"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// ImportLife is how long the keys of an announced import are kept if no write takes them.
const ImportLife = 10 * time.Minute

// maxImports bounds the announced imports of an agent.
const maxImports = 32

// ImportRequest announces one encrypted Parquet body and brings the keys that open it. The keys are wiped by PrepareImport.
type ImportRequest struct {
	Keys       []format.DecryptionKey
	Material   []byte // content of _KEY_MATERIAL_FOR_… beside the file; nil: none
	AADPrefix  []byte // that the file must have; empty: whichever it holds
	AllowCTR   bool
	SkipHidden bool // leave out columns whose key is not there
}

// imports are the announced imports of a session, by id.
type imports struct {
	mu      sync.Mutex
	waiting map[string]*waitingImport
	ended   bool
}

type waitingImport struct {
	caller string
	d      *format.Decryption
	timer  *time.Timer
}

// PrepareImport keeps the keys of one write of this caller, in locked memory, until that write takes them, ImportLife is over or the
// agent locks. It returns the id that the write names. The keys are never stored.
func (a *Agent) PrepareImport(ctx context.Context, c Caller, r ImportRequest) (id string, until time.Time, err error) {
	defer func() {
		for _, k := range r.Keys {
			clear(k.Key)
		}
	}()
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	defer leave()
	if err := s.writable(); err != nil {
		return "", time.Time{}, err
	}
	d, err := format.NewDecryption(r.Keys, r.Material)
	if err != nil {
		return "", time.Time{}, err
	}
	d.AADPrefix, d.AllowCTR, d.SkipHidden = r.AADPrefix, r.AllowCTR, r.SkipHidden
	if id, err = s.imports.add(c.ID, d); err != nil {
		d.Wipe()
		return "", time.Time{}, err
	}
	return id, a.clock.Now().Add(ImportLife).UTC().Truncate(time.Second), nil
}

func (i *imports) add(caller string, d *format.Decryption) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended || len(i.waiting) >= maxImports {
		return "", fault.New(fault.Busy, "%d imports wait for their bodies already", len(i.waiting))
	}
	if i.waiting == nil {
		i.waiting = map[string]*waitingImport{}
	}
	id := newImportID()
	i.waiting[id] = &waitingImport{caller: caller, d: d, timer: time.AfterFunc(ImportLife, func() {
		if late := i.take(caller, id); late != nil {
			late.Wipe()
		}
	})}
	return id, nil
}

// take hands out the keys of an import, once and to the caller who announced it; nil otherwise.
func (i *imports) take(caller, id string) *format.Decryption {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.waiting[id]
	if w == nil || w.caller != caller {
		return nil
	}
	delete(i.waiting, id)
	w.timer.Stop()
	return w.d
}

// wipe ends all imports that wait, when the session ends.
func (i *imports) wipe() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	for id, w := range i.waiting {
		w.timer.Stop()
		w.d.Wipe()
		delete(i.waiting, id)
	}
}

func errNoImport() error {
	return fault.New(fault.InvalidRequest, "import: there is none of this id, or it was used already: announce it again")
}
