package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

func newRestore(at func() folder) *cobra.Command {
	var disable []string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty folder from a backup", Args: exactly(1, "coldframe-coordinator restore FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			users, err := userIDs(disable)
			if err != nil {
				return err
			}
			out, err := restore(c.Context(), at(), args[0], users)
			if err == nil {
				printRestored(c.OutOrStdout(), out)
			}
			return err
		},
	}
	c.Flags().StringSliceVar(&disable, "disable", nil, "`users` to turn off: disabled since the backup, or given a new login proof because the old one was stolen")
	return c
}

func userIDs(list []string) (users []state.UserID, err error) {
	for _, id := range list {
		u := state.UserID(id)
		if !u.Valid() {
			return nil, usageError{errors.New("--disable takes ids of users, separated by commas")}
		}
		users = append(users, u)
	}
	return users, nil
}

// printRestored says what came back, and what the operator has to know of it.
func printRestored(w io.Writer, r state.Restored) {
	fmt.Fprintf(w, "restored %d accounts; users have to log in again, invitations are gone, and agents will notice what is older than they know\n", r.Users)
	fmt.Fprintln(w, "login and recovery proofs are those of the backup: one that was replaced since is good again, and its successor is not")
	fmt.Fprintf(w, "%d accounts are disabled; those disabled since the backup are not, unless --disable named them\n", len(r.Disabled))
	for _, id := range r.Disabled {
		fmt.Fprintln(w, "disabled", id)
	}
	for _, id := range r.Unknown {
		fmt.Fprintln(w, "not in the backup", id)
	}
}

// restore fills a store beside its place and moves it there once it is whole.
func restore(ctx context.Context, dir folder, file string, disable []state.UserID) (out state.Restored, err error) {
	in, err := os.Open(file)
	if err != nil {
		return out, fault.Wrap(fault.Unavailable, err, "the backup cannot be read")
	}
	defer in.Close()
	if err := dir.prepare(slog.New(slog.DiscardHandler)); err != nil {
		return out, err
	}
	if _, err := os.Lstat(dir.store()); !errors.Is(err, os.ErrNotExist) {
		return out, fault.New(fault.Conflict, "the folder %s is not empty", string(dir))
	}
	st, err := badgerstore.Open(dir.restoring(), badgerstore.Options{})
	if err != nil {
		return out, err
	}
	out, err = state.Restore(ctx, st, in, disable...)
	if err = errors.Join(err, st.Close()); err != nil {
		return out, errors.Join(err, os.RemoveAll(dir.restoring()))
	}
	if err := os.Rename(dir.restoring(), dir.store()); err != nil {
		return out, fault.Wrap(fault.Unavailable, err, "the store cannot be moved into its place")
	}
	return out, syncFolder(string(dir))
}
