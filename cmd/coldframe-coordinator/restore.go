package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

func newRestore(at func() folder) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty folder from a backup", Args: exactly(1, "coldframe-coordinator restore FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := restore(c.Context(), at(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "restored; users have to log in again, and agents will notice what is older than they know")
			return nil
		},
	}
}

// restore fills a store beside its place and moves it there once it is whole.
func restore(ctx context.Context, dir folder, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the backup cannot be read")
	}
	defer in.Close()
	if entries, err := os.ReadDir(string(dir)); err == nil && len(entries) > 0 {
		return fault.New(fault.Conflict, "the folder %s is not empty", string(dir))
	}
	if err := dir.prepare(); err != nil {
		return err
	}
	st, err := badgerstore.Open(dir.restoring(), badgerstore.Options{})
	if err != nil {
		return err
	}
	err = errors.Join(state.Restore(ctx, st, in), st.Close())
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir.restoring()))
	}
	if err := os.Rename(dir.restoring(), dir.store()); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the store cannot be moved into its place")
	}
	return syncFolder(string(dir))
}
