package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"coldframe/localapi"
)

func (a *app) backupCommands() []*cobra.Command {
	return []*cobra.Command{a.backupCommand(), a.restoreCommand()}
}

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write an encrypted backup of the vault and of what the agent knows of its datasets", Args: args(cobra.ExactArgs(1)),
		Long: "Writes an encrypted backup. It opens with the password of this moment (and, on another machine, with the recovery kit). The tables themselves\nstay in the store, and what is written after the backup is not in it: make a new one after every change that matters.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if _, err := os.Lstat(list[0]); err == nil {
				return usageError{fmt.Errorf("%s is there already", list[0])}
			}
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			r, w := io.Pipe()
			go func() { w.CloseWithError(c.Backup(cmd.Context(), password, w)) }()
			n, err := writeWhole(list[0], r)
			r.CloseWithError(err)
			if err != nil {
				return err
			}
			a.say("%s: %s", list[0], size(n))
			return nil
		},
	}
}

func (a *app) restoreCommand() *cobra.Command {
	var kitFile string
	var forgotten bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Restore a backup into an agent that has no account", Args: args(cobra.ExactArgs(1)),
		Long: "Restores a backup into an agent that has no account and unlocks it, with the password of the time of the backup. On a machine that has not got the\naccount key, --kit brings it. With --kit and --forgotten the kit alone opens the backup, and a new password is set.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if forgotten && kitFile == "" {
				return usageError{errors.New("--forgotten needs --kit")}
			}
			f, err := os.Open(list[0])
			if err != nil {
				return usageError{err}
			}
			defer f.Close()
			o, err := a.restoreOptions(kitFile, forgotten)
			if err != nil {
				return err
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.Restore(cmd.Context(), f, o); err != nil {
				return err
			}
			a.say("restored and unlocked. Do not go on with the agent that this backup was made of: without a coordinator two agents on one account do not see each other's changes.")
			return nil
		},
	}
	cmd.Flags().StringVar(&kitFile, "kit", "", "file with the recovery kit")
	cmd.Flags().BoolVar(&forgotten, "forgotten", false, "the password is lost: open with the kit and set a new one")
	return cmd
}

func (a *app) restoreOptions(kitFile string, forgotten bool) (o localapi.RestoreOptions, err error) {
	if kitFile != "" {
		kit, err := readKit(kitFile)
		if err != nil {
			return o, err
		}
		o.RecoveryKit = kit
	}
	if forgotten {
		o.NewPassword, err = a.secrets.askNew("New password")
	} else {
		o.Password, err = a.secrets.ask("Password of the time of the backup")
	}
	return o, err
}

func (a *app) eventsCommand() *cobra.Command {
	var after string
	cmd := &cobra.Command{
		Use: "events", Short: "Follow what the agent does, one JSON object a line, until interrupted", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			for n, err := range c.Events(cmd.Context(), after) {
				if err != nil {
					return err
				}
				if err := writeLine(a.out, struct {
					ID string `json:"id,omitempty"`
					localapi.Event
				}{n.ID, n.Event}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "begin after the event with this id (0: all that is kept)")
	return cmd
}
