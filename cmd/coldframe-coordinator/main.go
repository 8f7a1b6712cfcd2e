// Command coldframe-coordinator keeps sealed blobs, hands out prekeys and forwards messages for agents, who trust it for nothing but being there.
// docs/coordinator.md tells how it is run and what it learns.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/internal/version"
)

// Exit codes. 78 is EX_CONFIG of sysexits.h: systemd shows it by name.
const (
	exitFailure = 1
	exitUsage   = 2
	exitConfig  = 78
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "coldframe-coordinator:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if c := fault.CodeOf(err); c == fault.InvalidRequest || c == fault.Policy {
		return exitConfig
	}
	return exitFailure
}

// folder is where the coordinator keeps everything.
type folder string

func (f folder) store() string     { return filepath.Join(string(f), "store") }
func (f folder) socket() string    { return filepath.Join(string(f), "admin.sock") }
func (f folder) restoring() string { return filepath.Join(string(f), "restoring") }

func newRoot() *cobra.Command {
	var dir string
	root := &cobra.Command{
		Use: "coldframe-coordinator", Short: "The coordinator of Coldframe", Version: version.String(),
		SilenceUsage: true, SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.NoArgs(c, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("a command is needed; see coldframe-coordinator --help")}
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	otherwise := os.Getenv("STATE_DIRECTORY")
	if otherwise == "" {
		otherwise = "/var/lib/coldframe-coordinator"
	}
	root.PersistentFlags().StringVar(&dir, "data-dir", otherwise, "`folder` of the store and of the operator's socket")
	at := func() folder { return folder(dir) }
	root.AddCommand(newServe(at), newInvite(at), newUsers(at), newDisable(at, true), newDisable(at, false), newQuota(at), newBackup(at), newRestore(at))
	return root
}

// exactly is cobra.ExactArgs with our kind of error.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("usage: %s", what)}
		}
		return nil
	}
}
