package state

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
)

// Body is one version with its body.
type Body struct {
	Version
	Body []byte
}

// Blob returns a version of a blob, the newest for counter 0, or fault.NotFound.
func (s *State) Blob(ctx context.Context, user UserID, name string, counter uint64) (b Body, err error) {
	err = s.view(ctx, func(t *tx) error {
		if b.Version, err = t.version(user, name, counter); err != nil {
			return err
		}
		b.Body, err = t.Get(bodyKey(user, name, b.Counter))
		return err
	})
	return b, noBlob(err)
}

// Read asks for several blobs at one moment: those of Names, or those whose names begin with Prefix.
type Read struct {
	Names  []string
	Prefix string
	Bodies bool
	Limit  int     // blobs in one answer, 1 to MaxRead
	After  string  // those whose names come after it, by name
	Since  *uint64 // instead: those that were changed after this change, by their newest changes
	Epoch  string  // in which Since was a change; empty: this one
}

// Page is what there was at one moment. Blobs that were deleted are in it as long as they are known.
type Page struct {
	Blobs  []BlobAndBody
	More   bool   // others follow: read again, with After the last name or Since the last change of this page
	Change uint64 // number of the newest change
	Floor  uint64 // a new blob begins above it
	Missed bool   // Since is of another epoch, or after it blobs were deleted that are not known any more: what a Read by name does not have is not there
}

// BlobAndBody is a blob with its newest body.
type BlobAndBody struct {
	Blob
	Body []byte // of the newest version if it was asked for and is not the deletion
}

// Read returns a page of blobs, MaxReadBytes at most. Swaps are never torn: what changed together is in one page by changes.
func (s *State) Read(ctx context.Context, user UserID, r Read) (p Page, err error) {
	err = s.gather(ctx, &gather{user: user, Read: r, page: &p})
	return p, err
}

// gather fills a page, or measures it.
type gather struct {
	*tx
	Read
	user    UserID
	page    *Page
	measure bool // nothing is kept
	blobs   int
	size    int64
}

func (s *State) gather(ctx context.Context, g *gather) error {
	if g.Limit < 1 || g.Limit > MaxRead || len(g.Names) > MaxRead {
		return fault.New(fault.InvalidRequest, "at most %d blobs are read at once", MaxRead)
	}
	return s.view(ctx, func(t *tx) error {
		c, err := t.of(g.user)
		if err != nil {
			return err
		}
		g.tx, g.blobs, g.size, *g.page = t, 0, 0, Page{Change: c.Changes, Floor: c.Floor}
		switch {
		case g.Since == nil && g.Names == nil:
			return g.byName()
		case g.Since == nil:
			return g.named()
		case *g.Since > 0 && *g.Since < c.Forgotten, *g.Since > c.Changes, g.Epoch != "" && g.Epoch != s.epoch:
			g.page.Missed = true
			return nil
		}
		return g.byChange(*g.Since)
	})
}

// versionsCost is what the versions of a blob take in an answer beside the body, in the measure of MaxReadBytes.
const versionsCost = 2_250

// add puts blobs into the page, all or none of them, or returns errEnough if there is no room.
func (g *gather) add(list ...Blob) error {
	size := int64(len(list)) * versionsCost
	for i := range list {
		if g.Bodies {
			size += list[i].Size
		}
	}
	full := g.blobs+len(list) > g.Limit || g.size+size > MaxReadBytes
	if full && g.blobs > 0 && len(list) > 0 {
		g.page.More = true
		return errEnough
	}
	g.blobs, g.size = g.blobs+len(list), g.size+size
	if g.measure {
		return nil
	}
	for _, b := range list {
		out := BlobAndBody{Blob: b}
		if g.Bodies && !b.Deleted() {
			var err error
			if out.Body, err = g.Get(bodyKey(g.user, b.Name, b.Counter)); err != nil {
				return err
			}
		}
		g.page.Blobs = append(g.page.Blobs, out)
	}
	return nil
}

func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// byName adds those with the prefix.
func (g *gather) byName() error {
	all := key("blob", string(g.user), "")
	from := ""
	if g.After != "" {
		from = all + g.After + "\x00"
	}
	return enough(g.ScanFrom(all+g.Prefix, from, func(k string, record []byte) error {
		b, err := decodeBlob(g.user, strings.TrimPrefix(k, all), record)
		if err != nil {
			return err
		}
		return g.add(b)
	}))
}

// named adds those of the list.
func (g *gather) named() error {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(g.Names))) {
		if name <= g.After {
			continue
		}
		b, there, err := g.blob(g.user, name)
		if err == nil && there {
			err = g.add(b)
		}
		if err != nil {
			return enough(err)
		}
	}
	return nil
}

// byChange adds those whose newest change is after since, change by change.
func (g *gather) byChange(since uint64) error {
	all := key("change", string(g.user), "")
	var together []Blob
	err := g.ScanFrom(all, key("change", string(g.user), number(since+1)), func(k string, _ []byte) error {
		name := k[strings.LastIndexByte(k, '/')+1:]
		if !strings.HasPrefix(name, g.Prefix) || g.Names != nil && !slices.Contains(g.Names, name) {
			return nil
		}
		b, there, err := g.blob(g.user, name)
		if err != nil || !there {
			return err
		}
		if len(together) > 0 && together[0].Change != b.Change {
			if err := g.add(together...); err != nil {
				return err
			}
			together = nil
		}
		together = append(together, b)
		return nil
	})
	if err == nil {
		err = g.add(together...)
	}
	return enough(err)
}
