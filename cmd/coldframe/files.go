package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) filesCommand() *cobra.Command {
	var version int64
	var folder string
	cmd := &cobra.Command{
		Use: "files NAME", Short: "Where the encrypted Parquet files of a dataset lie, for other readers", Args: args(cobra.ExactArgs(1)),
		Long: "Prints paths or, if the store is a bucket, URLs that end after five minutes and are as good as a password until then. The files open in every reader of\nParquet modular encryption that asks the agent for the keys: examples/pyarrow_client.py, with a token of the scope kms (apps add).",
		RunE: func(cmd *cobra.Command, list []string) error {
			if cmd.Flags().Changed("version") && version < 1 {
				return usageError{errors.New("versions are counted from 1")}
			}
			return a.files(cmd.Context(), list[0], folder, version)
		},
	}
	cmd.Flags().Int64Var(&version, "version", 0, "an older version (default the newest)")
	cmd.Flags().StringVar(&folder, "link", "", "make this folder, with a symlink to each file")
	return cmd
}

func (a *app) files(ctx context.Context, name, folder string, version int64) error {
	c, err := a.agent(ctx)
	if err != nil {
		return err
	}
	d, err := find(ctx, c, name)
	if err != nil {
		return err
	}
	list, err := c.Files(ctx, d.Id, version)
	if err != nil {
		return err
	}
	if folder != "" {
		if err := link(folder, list.Files); err != nil {
			return err
		}
	}
	return a.answer(list, func() error {
		if folder != "" {
			a.say("%s: %s of version %d", folder, plural(int64(len(list.Files)), "file"), list.Version)
			return nil
		}
		for _, f := range list.Files {
			if _, err := fmt.Fprintln(a.out, where(f)); err != nil {
				return err
			}
		}
		return nil
	})
}

func where(f localapi.EncryptedFile) string {
	if f.Path != nil {
		return *f.Path
	}
	if f.Url != nil {
		return *f.Url
	}
	return ""
}

// link makes a folder of symlinks. It must not be there yet: old links beside new ones would be two versions in one table.
func link(folder string, files []localapi.EncryptedFile) error {
	for _, f := range files {
		if f.Path == nil || filepath.Base(f.Name) != f.Name {
			return fault.New(fault.InvalidRequest, "the store is no folder: there is nothing to link to")
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return usageError{err}
	}
	for _, f := range files {
		if err := os.Symlink(*f.Path, filepath.Join(folder, f.Name)); err != nil {
			return err
		}
	}
	return nil
}
