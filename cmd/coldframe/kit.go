package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

const maxKitFile = 8 << 10

// readKit reads a recovery kit. A file that others may read is refused: the kit opens the account.
func readKit(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usageError{err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", usageError{err}
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return "", usageError{fmt.Errorf("%s: others may read this recovery kit: chmod 600 it first", path)}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKitFile+1))
	if err == nil && len(b) > maxKitFile {
		err = fmt.Errorf("%s: a recovery kit has at most %d bytes", path, maxKitFile)
	}
	if err != nil {
		return "", usageError{err}
	}
	return string(b), nil
}

// kitFileHandle is a new file for the recovery kit, made before what the kit is for, so that a kit is never lost to a bad path. Nil: print it.
type kitFileHandle struct{ f *os.File }

func newKitFile(path string) (*kitFileHandle, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, usageError{err}
	}
	return &kitFileHandle{f}, nil
}

// write leaves the kit on the disk, with the name of its file.
func (k *kitFileHandle) write(kit string) error {
	if k == nil {
		return nil
	}
	if _, err := k.f.WriteString(strings.TrimRight(kit, "\n") + "\n"); err != nil {
		return err
	}
	if err := k.f.Sync(); err != nil {
		return err
	}
	if err := k.f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(k.f.Name()))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (k *kitFileHandle) discard() {
	if k != nil {
		k.f.Close()
		os.Remove(k.f.Name())
	}
}

func (a *app) kitCommand() *cobra.Command {
	group := &cobra.Command{Use: "recovery-kit", Short: "What opens the account where the password is lost"}
	var kitFile string
	renew := &cobra.Command{
		Use: "new", Short: "Make a new recovery kit; the former one opens nothing from then on (asks for the password)", Args: args(cobra.NoArgs),
		Long: "Prints a new recovery kit, or writes it to --kit, and then makes it the valid one, here and at the coordinator: the former one opens nothing from then on.\n" +
			"Where that broke off, keep both: coldframe recovery-kit check FILE tells which is the valid one.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.renewKit(cmd, "", kitFile) },
	}
	renew.Flags().StringVar(&kitFile, "kit", "", "write the recovery kit to this new file instead of printing it")
	group.AddCommand(renew, &cobra.Command{
		Use: "check FILE", Short: "Whether this recovery kit is the valid one", Args: args(cobra.ExactArgs(1)),
		Long: "Whether this recovery kit is the valid one. Unlocked, the agent asks the coordinator first; locked, it answers for the copy on this machine alone, which another machine may have\n" +
			"replaced. Keep every kit until an unlocked agent has said which one is valid.",
		RunE: func(cmd *cobra.Command, list []string) error {
			kit, err := readKit(list[0])
			if err != nil {
				return err
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			return a.checkKit(cmd.Context(), c, kit)
		},
	})
	return group
}

// ofThisCopy is what an answer of a locked agent is worth.
const ofThisCopy = "the agent is locked, so this is about the copy on this machine: keep every kit, unlock, and check again"

// checkKit says whether a kit is the valid one, and whether the coordinator was asked.
func (a *app) checkKit(ctx context.Context, c *localapi.Client, kit string) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	locked := st.State == localapi.StatusStateLocked
	switch err := c.CheckKit(ctx, kit); {
	case err != nil && locked:
		return advised{err, ofThisCopy}
	case err != nil:
		return err
	case locked:
		a.say("this recovery kit opens the account as it is here; %s", ofThisCopy)
	default:
		a.say("this recovery kit opens the account")
	}
	return nil
}

func (a *app) emailCommand() *cobra.Command {
	var kitFile string
	cmd := &cobra.Command{
		Use: "email ADDRESS", Short: "Change the account's e-mail address, and with it the recovery kit (asks for the password)", Args: args(cobra.ExactArgs(1)),
		Long: "Gives the account another e-mail address, here and at the coordinator. What opens the account depends on the address: a new recovery kit is printed, or written to --kit,\n" +
			"and the former one opens nothing from then on. Contacts stay. Your other machines follow by themselves; one that was away for days: coldframe login --coordinator URL --kit FILE.",
		RunE: func(cmd *cobra.Command, list []string) error { return a.renewKit(cmd, list[0], kitFile) },
	}
	cmd.Flags().StringVar(&kitFile, "kit", "", "write the new recovery kit to this new file instead of printing it")
	return cmd
}

// renewKit puts a new kit into the user's hands and then makes it the valid one, for another address if there is one.
func (a *app) renewKit(cmd *cobra.Command, email, kitFile string) error {
	c, password, err := a.agentAndPassword(cmd.Context())
	if err != nil {
		return err
	}
	file, err := newKitFile(kitFile)
	if err != nil {
		return err
	}
	kit, err := c.DraftKit(cmd.Context(), password, email)
	if err == nil {
		err = a.handOverKit(file, kit)
	}
	if err != nil {
		file.discard()
		return err
	}
	use := c.ReplaceKit
	if email != "" {
		use = c.ChangeEmail
	}
	if err := use(cmd.Context(), password, kit); err != nil {
		return a.kitNotUsed(file, kitFile, err)
	}
	done := "the new recovery kit holds: the former one opens nothing any more"
	if email != "" {
		done = "the address is changed, and the new recovery kit holds: the former one opens nothing any more"
	}
	if file != nil {
		done += fmt.Sprintf("\nrecovery kit in %s: print it, keep it away from this machine, then delete the file", kitFile)
	}
	a.say("%s", done)
	return nil
}

// handOverKit writes a drafted kit to its file, or shows it.
func (a *app) handOverKit(file *kitFileHandle, kit string) error {
	if file != nil {
		return file.write(kit)
	}
	return a.answer(localapi.KitText{RecoveryKit: kit}, func() error {
		_, err := fmt.Fprintln(a.out, strings.TrimRight(kit, "\n"))
		if err == nil {
			a.say("\nPrint the recovery kit and keep it away from this machine. It is not shown again.")
		}
		return err
	})
}

// refusals are codes after which a kit was not used, for certain.
var refusals = []fault.Code{
	fault.Busy, fault.Conflict, fault.Forbidden, fault.InvalidRequest, fault.Locked, fault.NotAuthentic, fault.Policy, fault.RolledBack, fault.Forked,
	fault.Stale, fault.StorageFull, fault.TooLarge, fault.Unauthorized,
}

// kitNotUsed removes a kit that is worth nothing, and tells of one that may be worth something.
func (a *app) kitNotUsed(file *kitFileHandle, kitFile string, err error) error {
	for _, code := range refusals {
		if codeOf(err) != code {
			continue
		}
		if file != nil {
			file.discard()
			return err
		}
		return advised{err, "the recovery kit above is not the valid one: the former one stays"}
	}
	if file == nil {
		kitFile = "FILE"
	}
	return advised{err, "whether the new recovery kit is the valid one is not known yet: keep both; coldframe recovery-kit check " + kitFile + " tells, once the coordinator is there"}
}
