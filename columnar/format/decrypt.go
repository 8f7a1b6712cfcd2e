package format

import (
	"context"
	"errors"
	"io"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// DecryptionKey is a master key of another writer, or the data key itself where a file's key metadata is nothing but a name.
type DecryptionKey struct {
	ID  string
	Key []byte // 16, 24 or 32 bytes
}

// MaxDecryptionKeys bounds the keys of one Decryption.
const MaxDecryptionKeys = 1000

// Decryption opens one Parquet body that another writer encrypted (Parquet Modular Encryption). Its keys are in locked memory until Wipe.
type Decryption struct {
	AADPrefix  []byte // that the file must have; empty: whichever it holds
	AllowCTR   bool   // take what can be changed without notice: AES_GCM_CTR_V1, and version 2 pages of parquet-java
	SkipHidden bool   // leave out columns without a key; else they are fault.Forbidden

	keys *pme.MasterKeys
}

// NewDecryption takes the keys, and what the file _KEY_MATERIAL_FOR_… beside the body holds (nil if there is none). It copies the keys;
// the caller wipes its own.
func NewDecryption(keys []DecryptionKey, material []byte) (*Decryption, error) {
	if len(keys) == 0 || len(keys) > MaxDecryptionKeys {
		return nil, fault.New(fault.InvalidRequest, "keys: 1 to %d", MaxDecryptionKeys)
	}
	var all []pme.MasterKey
	for _, k := range keys {
		m, err := pme.NewMasterKey(k.ID, k.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	held, err := pme.NewMasterKeys(all, material)
	return &Decryption{keys: held}, err
}

// Wipe overwrites the keys.
func (d *Decryption) Wipe() { d.keys.Wipe() }

// plain decrypts sealed into another store, which the caller resets. The file that it makes is as hostile as any body: it is checked
// like one.
func (d *Decryption) plain(ctx context.Context, sealed *store, schema *arrow.Schema) (*store, error) {
	f, err := d.open(sealed)
	if err != nil {
		return nil, err
	}
	out := &store{dir: sealed.dir, limit: sealed.limit}
	err = f.WritePlain(untilDone{ctx, out}, sealed, pme.PlainOptions{SkipHidden: d.SkipHidden, Fixed96: fixed96(schema)})
	if err == nil {
		err = out.finish()
	}
	if err != nil {
		return nil, errors.Join(d.explain(err), out.reset())
	}
	return out, nil
}

// untilDone is a store that takes nothing any more once a context has ended.
type untilDone struct {
	ctx context.Context //nolint:containedctx // of one call
	s   *store
}

func (u untilDone) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, fault.Wrap(fault.Incomplete, err, "the request ended before the body did")
	}
	return u.s.Write(p)
}

func (d *Decryption) open(sealed *store) (*pme.File, error) {
	o := pme.ReadOptions{
		AADPrefix: d.AADPrefix, Foreign: true, PlaintextFooter: true, TakePrefix: true, AllowCTR: d.AllowCTR, MaxFooter: maxFooter, MaxPage: maxPage,
	}
	end := make([]byte, min(8, sealed.size))
	if err := readFull(sealed, end, sealed.size-int64(len(end))); err != nil {
		return nil, err
	}
	n, err := pme.TailSize(end, sealed.size, o)
	if err != nil {
		return nil, err
	}
	tail := make([]byte, n)
	if err := readFull(sealed, tail, sealed.size-n); err != nil {
		return nil, err
	}
	f, err := pme.OpenFooter(tail, sealed.size, d.keys, o)
	return f, d.explain(err)
}

// explain names the keys that were asked for in vain.
func (d *Decryption) explain(err error) error {
	missing := d.keys.Missing()
	if !errors.Is(err, fault.Forbidden) || len(missing) == 0 {
		return err
	}
	return fault.Wrap(fault.Forbidden, err, "the file needs the key %q, which is not among those given", shorten(missing[0]))
}

func readFull(s *store, b []byte, at int64) error {
	_, err := s.ReadAt(b, at)
	if err == io.EOF { //nolint:errorlint // as it comes from ReadAt
		return fault.New(fault.Incomplete, "the Parquet file is shorter than its footer says")
	}
	return err
}

// fixed96 tells which columns of the type INT96 are wanted as their bytes: those that the schema declares so.
func fixed96(schema *arrow.Schema) func(string) bool {
	return func(name string) bool {
		if schema == nil {
			return false
		}
		for _, i := range schema.FieldIndices(name) {
			if t, ok := schema.Field(i).Type.(*arrow.FixedSizeBinaryType); ok && t.ByteWidth == 12 {
				return true
			}
		}
		return false
	}
}
