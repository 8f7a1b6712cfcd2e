package daemon

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/query"
	"coldframe/internal/fault"
)

// engineName is the program that answers SQL.
const engineName = "coldframe-engine"

// QueryRequest is one SELECT over the datasets that the caller sees.
type QueryRequest struct {
	SQL      string
	Transfer string // id in progress events, as in WriteRequest
}

// Query runs a statement and opens its result. Tables are the newest versions of datasets, named by title (as it is, else in whatever case)
// or id. Errors are those of query.Engine, and fault.Conflict for a title that two datasets have.
func (a *Agent) Query(ctx context.Context, c Caller, r QueryRequest) (*DataStream, error) {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	t, free, err := a.newTransfer(ctx, r.Transfer, "", 0, &a.counter.downloads)
	if err != nil {
		leave()
		return nil, err
	}
	out := &DataStream{a: a, t: t, ctx: ctx, leave: func() { free(); leave() }}
	err = a.guarded(func() error {
		engine, err := a.engine()
		if err != nil {
			return err
		}
		in, err := engine.Query(ctx, r.SQL, func(ctx context.Context, name string) (*columnar.Image, error) {
			return a.table(ctx, s, c, name)
		})
		if err != nil {
			return err
		}
		out.in, out.Schema = in, in.Schema()
		return nil
	})
	if err != nil {
		_ = out.Close() // it returns nil
		return nil, ended(ctx, err)
	}
	return out, nil
}

// engines is the agent's SQL engine, which is made when it is asked for first.
type engines struct {
	mu   sync.Mutex
	made query.Engine
}

func (a *Agent) engine() (query.Engine, error) {
	a.sql.mu.Lock()
	defer a.sql.mu.Unlock()
	if a.sql.made == nil {
		o, err := a.queryOptions()
		if err != nil {
			return nil, err
		}
		a.sql.made = query.New(o)
	}
	return a.sql.made, nil
}

// rest ends the process that waits for a next statement. No statement is in work that could start another.
func (e *engines) rest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.made != nil {
		e.made.Rest()
	}
}

func (a *Agent) queryOptions() (query.Options, error) {
	q := a.cfg.Query
	o := query.Options{
		Program: q.Engine, AllowUnconfined: q.AllowUnconfined, Threads: q.Threads, MemoryMiB: q.MemoryMiB, DataMiB: q.DataMiB, ResultMiB: q.ResultMiB,
		Time: time.Duration(q.Seconds) * time.Second, Spare: time.Duration(q.SpareSeconds) * time.Second, Spool: filepath.Join(a.cfg.Folders.State, spoolFolder),
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fault.Wrap(fault.Unavailable, err, "the query engine cannot be found")
		}
		o.Program = filepath.Join(filepath.Dir(self), engineName)
	}
	return o, nil
}

// table opens the newest version of the dataset that a name in a statement stands for.
func (a *Agent) table(ctx context.Context, s *session, c Caller, name string) (*columnar.Image, error) {
	id, err := a.named(ctx, c, name)
	if err != nil {
		return nil, err
	}
	ds, err := a.load(s, id)
	if err != nil {
		return nil, err
	}
	defer ds.wipe()
	store, err := s.objects()
	if err != nil {
		return nil, err
	}
	m, err := ds.at(0)
	if err != nil {
		return nil, err
	}
	image, err := columnar.NewImage(ctx, store, m, versionKeys{a.vault})
	a.noteRefused(id, err)
	return image, err
}

// named returns the dataset of that title or id, among those that the caller sees.
func (a *Agent) named(ctx context.Context, c Caller, name string) (columnar.DatasetID, error) {
	ids, err := a.datasetIDs()
	if err != nil {
		return "", err
	}
	var exact, folded []columnar.DatasetID
	for _, id := range ids {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		if !c.Sees(string(id)) {
			continue
		}
		title, err := a.titleOf(id)
		switch {
		case err != nil: // deleted meanwhile, or damaged: then nobody can mean it by its title
		case title == name:
			exact = append(exact, id)
		case strings.EqualFold(title, name):
			folded = append(folded, id)
		}
	}
	if len(exact) == 0 {
		exact = folded
	}
	switch {
	case len(exact) == 1:
		return exact[0], nil
	case len(exact) > 1:
		return "", fault.New(fault.Conflict, "%d datasets have the title %q: name one by its id", len(exact), name)
	}
	if id, err := visible(c, name); err == nil {
		return id, nil
	}
	return "", fault.New(fault.NotFound, "no dataset has the title or id %q", name)
}
