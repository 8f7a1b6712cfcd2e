// Command coldframe is the command line of the agent: a client of the local API that holds no keys. docs/cli.md lists the commands and the
// exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/internal/version"
	"coldframe/localapi"
)

// app is what every command works with.
type app struct {
	out     io.Writer // what was asked for
	err     io.Writer // everything else
	secrets *secrets

	socket string
	json   bool
	quiet  bool
}

// grace is how long an interrupted command may go on.
const grace = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A read from an idle pipe cannot be ended: an interrupted command gets a moment to clean up, then it is over.
	context.AfterFunc(ctx, func() { time.Sleep(grace); os.Exit(exitInterrupted) })
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	a := &app{out: os.Stdout, err: os.Stderr, secrets: newSecrets(ctx, os.Stdin, os.Stderr)}
	root := a.root()
	root.SetArgs(args)
	err := known(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err != nil && ctx.Err() != nil {
		err = interrupted{err}
	}
	if err != nil {
		a.report(err)
	}
	return exitCode(err)
}

// known refuses a command that does not exist as wrong usage; the shell's completion asks through hidden commands of its own.
func known(root *cobra.Command, args []string) error {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return nil
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	onlyHold(root)
	if _, _, err := root.Find(args); err != nil {
		return usageError{err}
	}
	return nil
}

// onlyHold makes every command that does nothing but hold others refuse a name that none of them has; without one it prints its help.
func onlyHold(cmd *cobra.Command) {
	for _, group := range cmd.Commands() {
		onlyHold(group)
		if !group.HasSubCommands() || group.Runnable() {
			continue
		}
		group.Args = func(group *cobra.Command, list []string) error {
			if err := cobra.NoArgs(group, list); err != nil {
				return usageError{fmt.Errorf("%w\nsee %s --help", err, group.CommandPath())}
			}
			return nil
		}
		group.RunE = func(group *cobra.Command, _ []string) error { return group.Help() }
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "coldframe",
		Short:         "Tables in an object store that only you can read",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("coldframe {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", "", "the agent's Unix socket")
	flags.BoolVar(&a.json, "json", false, "answers and errors as JSON")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only what was asked for")
	root.AddCommand(a.accountCommands()...)
	root.AddCommand(a.storeCommand(), a.coordinatorCommand(), a.appsCommand(), a.eventsCommand())
	root.AddCommand(a.contactsCommand(), a.secretsCommand(), a.devicesCommand())
	root.AddCommand(a.dataCommands()...)
	root.AddCommand(a.backupCommands()...)
	return root
}

// agent connects to the agent, after checking that socket and process belong to this user.
func (a *app) agent(ctx context.Context) (*localapi.Client, error) {
	socket := a.socket
	if socket == "" {
		socket = socketPath(os.Getenv)
	}
	c, err := localapi.Dial(ctx, localapi.Options{Socket: socket, TokenFile: filepath.Join(filepath.Dir(socket), localapi.TokenName)})
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Unavailable {
		return nil, fault.Wrap(fault.Unavailable, err, "%s (start it with coldframed, or systemctl --user start coldframed)", e.Detail)
	}
	return c, err
}

// socketPath returns where the agent's socket is: the variable, the user's own agent, or that of the system unit.
func socketPath(getenv func(string) string) string {
	if p := getenv("COLDFRAME_SOCKET"); p != "" {
		return p
	}
	if d := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		p := filepath.Join(d, "coldframe", localapi.SocketName)
		if _, err := os.Lstat(p); err == nil {
			return p
		}
	}
	if u, err := user.Current(); err == nil {
		p := filepath.Join("/run", "coldframe-"+u.Username, localapi.SocketName)
		if _, err := os.Lstat(p); err == nil {
			return p
		}
	}
	return filepath.Join(daemonRuntimeDir(getenv), localapi.SocketName)
}

// daemonRuntimeDir is the runtime folder that an agent of this user makes by default.
func daemonRuntimeDir(getenv func(string) string) string {
	if d := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		return filepath.Join(d, "coldframe")
	}
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		state = filepath.Join(getenv("HOME"), ".local/state")
	}
	return filepath.Join(state, "coldframe", "run")
}

// report prints an error for a person, or as a problem with --json.
func (a *app) report(err error) {
	if a.json {
		_ = writeJSON(a.err, problemOf(err))
		return
	}
	if _, ok := errors.AsType[advised](err); !ok {
		err = withAdvice(anywhereAdvice, err)
	}
	fmt.Fprintln(a.err, "coldframe:", message(err))
}

// say prints a line for a person: not with --json, not with --quiet.
func (a *app) say(format string, args ...any) {
	if !a.json && !a.quiet {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// answer prints v with --json, else calls text.
func (a *app) answer(v any, text func() error) error {
	if a.json {
		return writeJSON(a.out, v)
	}
	return text()
}

// args wraps cobra's argument checks so that they exit with the code for wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := check(cmd, list); err != nil {
			return usageError{fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
