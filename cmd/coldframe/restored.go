package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) restoreCoordinatorCommand() *cobra.Command {
	var kitFile string
	cmd := &cobra.Command{
		Use: "restore", Short: "Give a coordinator that was restored from a backup what this machine has newer (asks for the password)", Args: args(cobra.NoArgs),
		Long: "After the operator says that the coordinator was restored from a backup: puts back what it lost and this machine has, the vault, the device list, sessions, and\n" +
			"messages that it took lately. On the machine that was used last first, then on the others. Without a restore, a coordinator that has an older state lies.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			request := localapi.CoordinatorRestore{Password: password}
			if kitFile != "" {
				kit, err := readKit(kitFile)
				if err != nil {
					return err
				}
				request.RecoveryKit = &kit
			}
			r, err := c.RestoreCoordinator(cmd.Context(), request)
			if err != nil {
				return withRestoreAdvice(err)
			}
			return a.answer(r, func() error {
				_, err := fmt.Fprintln(a.out, strings.Join(linesOfRestored(r), "\n"))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&kitFile, "kit", "", "file of the recovery kit, where the password was changed after the backup: the coordinator is told the present one")
	return cmd
}

// linesOfRestored says what was put back.
func linesOfRestored(r localapi.CoordinatorRestored) (lines []string) {
	if r.Vault {
		lines = append(lines, "the vault was put back")
	}
	for _, part := range []struct {
		n    int
		what string
	}{{r.Links, "links of the device list"}, {r.Records, "records of sessions"}, {r.Bodies, "received messages"}} {
		if part.n > 0 {
			lines = append(lines, fmt.Sprintf("%d %s were put back", part.n, part.what))
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing was missing that this machine has"}
	}
	for _, l := range r.Left {
		who := "the prekeys"
		if l.Contact != nil {
			who = "the session with " + printable(*l.Contact)
		}
		lines = append(lines, who+" is left as it is there: "+printable(l.Code))
	}
	return append(lines, "what was sent within the last two days is sent again, and comes once")
}

// restoreAdvice says what goes on after a refusal.
var restoreAdvice = map[fault.Code]string{
	fault.Forked:     "another machine went on without what is here; nothing was overwritten",
	fault.RolledBack: "another machine of yours may have what is missing: coldframe coordinator restore there",
	fault.Forbidden:  "if the password was changed after the backup, --kit KITFILE tells the coordinator the present one",
}

func withRestoreAdvice(err error) error {
	if advice := restoreAdvice[codeOf(err)]; advice != "" {
		return advised{err, advice}
	}
	return err
}
