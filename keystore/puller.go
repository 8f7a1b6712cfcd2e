package keystore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// puller fetches the parts of one vault.
type puller struct {
	ctx  context.Context
	r    Replica
	c    *contents // gets its index
	root [32]byte  // hash of the root record

	before *index              // of the open vault; empty if it is locked
	have   map[string][32]byte // what is here
	want   map[string][32]byte // what is to be here
	j      journal

	givenUp []byte // what is to be noted if this vault did not come of the open one
}

// shards makes the index of shards that are here and of those that it fetches.
func (p *puller) shards(db *kv.DB, top *root) error {
	x := new(index)
	refs, missing := make(map[string]rootRef), make(map[string][32]byte)
	take := func(key string, record []byte) error {
		shard, err := openShard(p.c.header.user, p.c.keys, refs[key], record)
		if err == nil {
			x.add(refs[key], shard)
		}
		return err
	}
	err := db.View(func(tx *kv.Tx) error {
		for _, ref := range top.Shards {
			key := shardRecord(int(ref.Shard))
			refs[key] = ref
			if p.have[key] != [32]byte(ref.Hash) {
				missing[key] = [32]byte(ref.Hash)
				continue
			}
			if known := p.before.refs[ref.Shard]; known == (shardRef{ref.Version, [32]byte(ref.Hash)}) {
				x.add(ref, p.before.shards[ref.Shard])
				continue
			}
			record, err := part(tx, key)
			if err == nil {
				err = take(key, record)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = p.fetch(missing, take)
	}
	if err != nil {
		return err
	}
	if x.items != top.Items {
		return fault.New(fault.Incomplete, "the index names another number of items than it has")
	}
	p.c.index = x
	addWanted(p.want, x)
	return nil
}

// items fetches the items that are not here.
func (p *puller) items() error {
	missing := make(map[string][32]byte)
	for key, hash := range p.want {
		if strings.HasPrefix(key, prefixItem) && p.have[key] != hash {
			missing[key] = hash
		}
	}
	return p.fetch(missing, func(key string, record []byte) error {
		id := strings.TrimPrefix(key, prefixItem)
		e, _ := p.c.index.find(id)
		it, err := openItem(p.c.header.user, p.c.keys, id, e, record)
		secret.Wipe(it.Body)
		return err
	})
}

// fetch reads parts by the keys that they have in the database, in batches, verifies them, and adds them to the journal.
func (p *puller) fetch(missing map[string][32]byte, check func(key string, record []byte) error) error {
	keys := slices.Sorted(maps.Keys(missing))
	for len(keys) > 0 {
		batch := keys[:min(len(keys), MaxSwapRecords)]
		names := make([]string, len(batch))
		for i, key := range batch {
			names[i] = partName(p.c.keys, missing[key])
		}
		list, err := p.r.Read(p.ctx, names)
		if err != nil {
			return remoteFault(err)
		}
		if err := checkRemote(list, names); err != nil {
			return err
		}
		for i, rec := range list {
			if err := p.one(keys[i], missing[keys[i]], rec, check); err != nil {
				return err
			}
		}
		keys = keys[len(list):]
	}
	return nil
}

func (p *puller) one(key string, hash [32]byte, rec Remote, check func(key string, record []byte) error) error {
	if len(rec.Body) == 0 {
		return p.gone()
	}
	record, err := openPart(p.c.header.user, p.c.keys, hash, rec.Name, rec.Body)
	if err != nil {
		return err
	}
	if err := check(key, record); err != nil {
		return err
	}
	return p.j.add(kv.Write{Key: key, Value: record})
}

// gone judges a part that is not there: another device may have replaced the vault meanwhile, and removed it.
func (p *puller) gone() error {
	now, err := one(p.ctx, p.r, remoteRoot)
	if err != nil {
		return err
	}
	if b, err := parseRootBlob(now.Body); err == nil && b.hash() != p.root {
		return errMoved
	}
	return fault.New(fault.Incomplete, "the replica lacks a part of the vault")
}

// rest writes down what is no part: what goes, and the small records.
func (p *puller) rest(b rootBlob, m membership) error {
	for key := range p.have {
		if _, stays := p.want[key]; !stays {
			if err := p.j.add(kv.Write{Key: key, Deleted: true}); err != nil {
				return err
			}
		}
	}
	small := map[string][]byte{recordHeader: b.header, recordKeyring: b.keyring, recordRoot: b.root, recordReplica: {byte(m)}}
	if p.givenUp != nil {
		small[recordGivenUp] = p.givenUp
	}
	for key, value := range small {
		if err := p.j.add(kv.Write{Key: key, Value: bytes.Clone(value)}); err != nil {
			return err
		}
	}
	return nil
}
