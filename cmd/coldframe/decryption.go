package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

// Bounds of what is read from files; the agent has the same ones.
const (
	maxKeyFile     = 512 << 10
	maxKeyMaterial = 8 << 20
)

// decryption are the flags of put for a Parquet file that another program encrypted.
type decryption struct {
	keys, material, prefix string
	allowCTR, skipHidden   bool
}

func (d *decryption) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.keys, "decryption-keys", "", "encrypted Parquet: file (or - for standard input) with the master keys, {\"id\": \"base64\"} or lines id=base64")
	f.StringVar(&d.material, "key-material", "", "encrypted Parquet: the key material file (default _KEY_MATERIAL_FOR_… beside FILE, if it is there)")
	f.StringVar(&d.prefix, "aad-prefix", "", "encrypted Parquet: the AAD prefix that the file must have (default whichever it holds)")
	f.BoolVar(&d.allowCTR, "allow-ctr", false, "encrypted Parquet: take what can be changed without notice: AES_GCM_CTR_V1, and version 2 pages of parquet-java")
	f.BoolVar(&d.skipHidden, "skip-hidden", false, "encrypted Parquet: leave out columns whose key is not given, instead of refusing the file")
}

// check refuses flags that would do nothing.
func (d *decryption) check(file string, o localapi.PutOptions) error {
	switch {
	case d.keys == "" && *d != (decryption{}):
		return usageError{errors.New("--key-material, --aad-prefix, --allow-ctr and --skip-hidden go with --decryption-keys")}
	case d.keys != "" && o.Format != "parquet":
		return usageError{errors.New("--decryption-keys is for Parquet")}
	case d.keys == "-" && file == "-":
		return usageError{errors.New("the table and its keys cannot both come from standard input")}
	}
	return nil
}

// announce hands the keys to the agent and returns the id of the import.
func (a *app) announce(ctx context.Context, c *localapi.Client, file string, d decryption) (string, error) {
	if d.keys == "" {
		return "", nil
	}
	r, err := a.importRequest(file, d)
	if err != nil {
		return "", err
	}
	made, err := c.PrepareImport(ctx, r)
	for _, k := range r.Keys {
		clear(k.Key)
	}
	return made.Import, err
}

func (a *app) importRequest(file string, d decryption) (localapi.ImportRequest, error) {
	in, err := a.input(d.keys)
	if err != nil {
		return localapi.ImportRequest{}, err
	}
	defer in.Close()
	b, err := readAtMost(in, maxKeyFile)
	defer clear(b)
	if err != nil {
		return localapi.ImportRequest{}, err
	}
	keys, err := parseKeys(b)
	if err != nil {
		return localapi.ImportRequest{}, err
	}
	r := localapi.ImportRequest{Keys: keys}
	if d.prefix != "" {
		prefix := []byte(d.prefix)
		r.AadPrefix = &prefix
	}
	if d.allowCTR {
		r.AllowCtr = &d.allowCTR
	}
	if d.skipHidden {
		r.SkipHidden = &d.skipHidden
	}
	material, err := keyMaterial(file, d.material)
	if len(material) > 0 {
		r.KeyMaterial = &material
	}
	return r, err
}

// keyMaterial reads the file with key material that was named, or the one that other writers put beside theirs.
func keyMaterial(file, named string) ([]byte, error) {
	path := named
	if path == "" {
		path = filepath.Join(filepath.Dir(file), "_KEY_MATERIAL_FOR_"+filepath.Base(file)+".json")
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && named == "" {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	defer f.Close()
	return readAtMost(f, maxKeyMaterial)
}

func readAtMost(r io.Reader, n int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, n+1))
	if err == nil && int64(len(b)) > n {
		err = fault.New(fault.TooLarge, "a file of keys has at most %d bytes", n)
	}
	return b, err
}

// parseKeys reads keys by their ids: one JSON object, or lines id=base64. Errors never repeat what may be a key.
func parseKeys(b []byte) ([]localapi.DecryptionKey, error) {
	var keys []localapi.DecryptionKey
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		byID := map[string][]byte{}
		if err := json.Unmarshal(b, &byID); err != nil {
			return nil, fault.New(fault.InvalidRequest, "the decryption keys are not one JSON object of base64 by id")
		}
		for id, key := range byID {
			keys = append(keys, localapi.DecryptionKey{Id: id, Key: key})
		}
	} else {
		for i, line := range bytes.Split(b, []byte("\n")) {
			line = bytes.TrimSpace(line)
			if len(line) == 0 {
				continue
			}
			id, text, _ := bytes.Cut(line, []byte("="))
			key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
			n, err := base64.StdEncoding.Decode(key, text)
			if err != nil {
				return nil, fault.New(fault.InvalidRequest, "line %d of the decryption keys is not id=base64", i+1)
			}
			keys = append(keys, localapi.DecryptionKey{Id: string(id), Key: key[:n]})
		}
	}
	for _, k := range keys {
		if n := len(k.Key); k.Id == "" || n != 16 && n != 24 && n != 32 {
			return nil, fault.New(fault.InvalidRequest, "a decryption key has an id and 16, 24 or 32 bytes, not %d", n)
		}
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.InvalidRequest, "the decryption keys are empty")
	}
	return keys, nil
}
