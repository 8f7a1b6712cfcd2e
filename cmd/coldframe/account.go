package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"coldframe/keystore/passphrase"
	"coldframe/localapi"
)

func (a *app) accountCommands() []*cobra.Command {
	return []*cobra.Command{
		a.statusCommand(), a.registerCommand(), a.loginCommand(), a.unlockCommand(), a.lockCommand(), a.passwordCommand(),
		a.emailCommand(),
		a.recoverCommand(), a.kitCommand(), a.unattendedCommand(), a.passphraseCommand(),
	}
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "State of the account and the agent", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(s, func() error { return a.printStatus(s) })
		},
	}
}

func (a *app) printStatus(s localapi.Status) error {
	rows := [][]string{{"state", string(s.State)}}
	add := func(name string, value *string) {
		if value != nil {
			rows = append(rows, []string{name, printable(*value)})
		}
	}
	add("user", s.UserId)
	add("e-mail", s.Email)
	if s.Store != nil {
		rows = append(rows, []string{"store", string(*s.Store)})
	}
	if s.Cache != nil {
		rows = append(rows, []string{"cache", cacheUse(s.Cache)})
	}
	if s.Coordinator != nil {
		rows = append(rows, []string{"coordinator", printable(s.Coordinator.Url) + " " + standing(string(s.Coordinator.State), s.Coordinator.Error)})
	}
	if s.Device != nil {
		rows = append(rows, []string{"device", place(s.Device.State, s.Device.Error)})
	}
	if s.State == localapi.StatusStateUnlocked {
		rows = append(rows, []string{"datasets", fmt.Sprint(s.Datasets)})
	}
	if s.ReadOnly {
		rows = append(rows, []string{"read only", "an older vault was opened; writes are refused"})
	}
	if s.Unattended {
		rows = append(rows, []string{"unattended", "on"})
	}
	if s.Uploads > 0 {
		rows = append(rows, []string{"uploads", fmt.Sprint(s.Uploads)})
	}
	rows = append(rows, []string{"started", when(s.Started)})
	for _, w := range s.Warnings {
		rows = append(rows, []string{"warning", printable(w)})
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(a.out, "%-12s%s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) registerCommand() *cobra.Command {
	var passwordOnly bool
	var kitFile, coordinator string
	var join joinFlags
	cmd := &cobra.Command{
		Use: "register EMAIL", Short: "Make an account on this machine", Args: args(cobra.ExactArgs(1)),
		Long: "Makes an account on this machine. The recovery kit is printed once (or written to --kit): without it a forgotten password cannot be helped.\n" +
			"With --coordinator the account joins one after that; if it cannot, it is there all the same.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := join.check(coordinator); err != nil {
				return err
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			password, err := a.secrets.askNew("New password (coldframe passphrase makes a good one)")
			if err != nil {
				return err
			}
			r, err := a.request(coordinator, join)
			if err != nil {
				return err
			}
			kit, err := newKitFile(kitFile)
			if err != nil {
				return err
			}
			made, err := c.Register(cmd.Context(), localapi.RegisterRequest{Email: list[0], Password: password, PasswordOnly: &passwordOnly})
			if err != nil {
				kit.discard()
				return err
			}
			if err := a.handOver(kit, kitFile, made); err != nil {
				// Shown on the other channel rather than lost: there is no second time.
				fmt.Fprintln(a.err, made.RecoveryKit)
				return fmt.Errorf("the account is made, but its recovery kit could not be written where you asked: %w", err)
			}
			if coordinator == "" {
				return nil
			}
			r.Password, r.RecoveryKit = password, &made.RecoveryKit
			return a.joinNew(cmd.Context(), c, r)
		},
	}
	cmd.Flags().BoolVar(&passwordOnly, "password-only", false, "no account key: the password alone opens the account on a new device")
	cmd.Flags().StringVar(&coordinator, "coordinator", "", "join the coordinator at this address, https://host[:port]")
	join.add(cmd.Flags())
	cmd.Flags().StringVar(&kitFile, "kit", "", "write the recovery kit to this new file instead of printing it")
	return cmd
}

// handOver writes the recovery kit to its file, or shows it.
func (a *app) handOver(kit *kitFileHandle, path string, r localapi.Registered) error {
	if err := kit.write(r.RecoveryKit); err != nil {
		return err
	}
	text := "\n" + r.RecoveryKit + "\nPrint the recovery kit and keep it away from this machine. It is not shown again."
	if kit != nil {
		r.RecoveryKit = ""
		text = "recovery kit in " + path + ": print it, keep it away from this machine, then delete the file"
	}
	return a.answer(r, func() error {
		if a.quiet && kit != nil {
			return nil
		}
		_, err := fmt.Fprintf(a.out, "registered as %s\n%s\n", r.UserId, text)
		return err
	})
}

func (a *app) unlockCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use: "unlock", Short: "Unlock with the password", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			password, err := a.secrets.ask("Password")
			if err != nil {
				return err
			}
			if err := c.Unlock(cmd.Context(), localapi.UnlockRequest{Password: password, AcceptRollback: &accept}); err != nil {
				return err
			}
			a.say("unlocked")
			return nil
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-rollback", false, "open a vault that is older than the one last seen, for reading only")
	return cmd
}

func (a *app) lockCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lock", Short: "Wipe the keys from memory", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.Lock(cmd.Context()); err != nil {
				return err
			}
			a.say("locked")
			return nil
		},
	}
}

func (a *app) passwordCommand() *cobra.Command {
	return &cobra.Command{
		Use: "password", Short: "Change the password", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			old, err := a.secrets.ask("Password")
			if err != nil {
				return err
			}
			next, err := a.secrets.askNew("New password")
			if err != nil {
				return err
			}
			if err := c.ChangePassword(cmd.Context(), localapi.PasswordChange{Password: old, NewPassword: next}); err != nil {
				return err
			}
			a.say("the new password holds")
			return nil
		},
	}
}

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use: "recover KITFILE", Short: "Set a new password with the recovery kit", Args: args(cobra.ExactArgs(1)),
		Long: "Sets a new password with the recovery kit. Of an account that a coordinator keeps: coldframe login --coordinator URL --kit KITFILE --new-password.",
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			kit, err := readKit(list[0])
			if err != nil {
				return err
			}
			next, err := a.secrets.askNew("New password")
			if err != nil {
				return err
			}
			if err := c.Recover(cmd.Context(), localapi.RecoverRequest{RecoveryKit: kit, NewPassword: next}); err != nil {
				return err
			}
			a.say("the new password holds; unlocked")
			return nil
		},
	}
}

func (a *app) unattendedCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "unattended", Short: "Let the agent become ready after a restart without a person",
		Long: "enable prints a credential on standard output, for systemd-creds:\n  sudo -v && coldframe unattended enable | sudo systemd-creds encrypt --name=coldframe-unattended - /etc/credstore.encrypted/coldframe-unattended-$USER\ndocs/daemon.md has all the steps. Whoever holds it opens the vault. disable makes every credential handed out before worthless.",
	}
	group.AddCommand(&cobra.Command{
		Use: "enable", Short: "Print a credential that opens the vault", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			r, err := c.EnableUnattended(cmd.Context(), password)
			if err != nil {
				return err
			}
			return a.answer(r, func() error { _, err := fmt.Fprint(a.out, r.Credential); return err })
		},
	}, &cobra.Command{
		Use: "disable", Short: "Make credentials handed out before worthless", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			return c.DisableUnattended(cmd.Context(), password)
		},
	})
	return group
}

func (a *app) agentAndPassword(ctx context.Context) (*localapi.Client, string, error) {
	c, err := a.agent(ctx)
	if err != nil {
		return nil, "", err
	}
	password, err := a.secrets.ask("Password")
	return c, password, err
}

func (a *app) passphraseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "passphrase", Short: "Print a generated passphrase", Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.out, passphrase.New())
			return err
		},
	}
}
