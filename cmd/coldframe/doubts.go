package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"coldframe/localapi"
)

// linesOfDoubt says what does not agree, which sessions are refused, and what to do about it.
func linesOfDoubt(s *localapi.SyncStatus) (lines []string) {
	for _, f := range s.Findings {
		lines = append(lines, lineOfFinding(f))
	}
	for _, f := range s.Refused {
		line := fmt.Sprintf("prekeys: %s: coldframe coordinator restart-prekeys", f.Code)
		if f.Contact != nil {
			line = fmt.Sprintf("session with %s: %s: coldframe contacts restart %[1]s", printable(*f.Contact), f.Code)
		}
		lines = append(lines, line)
	}
	return lines
}

func lineOfFinding(f localapi.HeadFinding) string {
	object, flags := printable(f.Object), ""
	if f.Owner != nil {
		object += " of contact " + printable(*f.Owner)
		flags = " --owner " + printable(*f.Owner)
	}
	line := fmt.Sprintf("%s: %s", object, f.Code)
	if f.Contact == nil {
		return line
	}
	verified := f.Verified != nil && *f.Verified
	who := map[bool]string{true: "verified", false: "not verified"}[verified]
	line += fmt.Sprintf(", says contact %s (%s)", printable(*f.Contact), who)
	line += fmt.Sprintf("; once you know that it is not so: coldframe coordinator clear %s%s --contact %s", printable(f.Object), flags, printable(*f.Contact))
	if f.Owner == nil && f.Code == localapi.HeadFindingCodeForked {
		line += ", or for good: coldframe devices trust-vault"
		if verified {
			line += ". Until then nothing is written or sent"
		}
	}
	return line
}

func (a *app) clearFindingCommand() *cobra.Command {
	var owner, contact string
	cmd := &cobra.Command{
		Use: "clear OBJECT [--contact CONTACT] [--owner CONTACT]", Short: "Forget what contacts say of an object that coordinator show tells of (asks for the password)",
		Long: "A contact who was told another vault or device list than the one here may be lied to by the coordinator, as you may, or lie: ask them over another way. What\nthey still say is found again with their next message.",
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&contact, "contact", "", "whose word; without it everybody's")
	cmd.Flags().StringVar(&owner, "owner", "", "the contact whose object it is; without it yours")
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		c, err := a.agent(cmd.Context())
		if err != nil {
			return err
		}
		r := localapi.ClearRequest{Object: list[0]}
		if r.Contact, err = contactID(cmd.Context(), c, contact); err != nil {
			return err
		}
		if r.Owner, err = contactID(cmd.Context(), c, owner); err != nil {
			return err
		}
		if r.Password, err = a.secrets.ask("Password"); err != nil {
			return err
		}
		if err := c.ClearFinding(cmd.Context(), r); err != nil {
			return err
		}
		a.say("forgotten; what is still said is found again")
		return nil
	}
	return cmd
}

// contactID returns the id of the contact that a flag names, nil for none.
func contactID(ctx context.Context, c *localapi.Client, name string) (*string, error) {
	if name == "" {
		return nil, nil
	}
	p, err := findContact(ctx, c, name)
	return &p.User, err
}

func (a *app) restartPreKeysCommand() *cobra.Command {
	return a.withPassword(
		"restart-prekeys", "Give up prekeys whose record was refused, or that somebody else uploaded, and publish new ones (asks for the password)", "new prekeys follow",
		func(c *localapi.Client, ctx context.Context, password string) error {
			return c.RestartSession(ctx, localapi.RestartRequest{Password: password})
		},
	)
}

func (a *app) restartContactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restart CONTACT", Short: "Begin the session with a contact anew, after its record was refused (asks for the password)",
		Long: "The coordinator keeps the sealed record of each session. One that is older than what was seen (rolled_back), or another one (forked), is not used any more, as\nkeys would be used twice: coldframe coordinator show tells of it. This gives the record up; what was sent in that session and not read yet is lost.",
	}
	return a.onContact(cmd, 0, nil, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		password, err := a.secrets.ask("Password")
		if err != nil {
			return err
		}
		if err := c.RestartSession(ctx, localapi.RestartRequest{Contact: &p.User, Password: password}); err != nil {
			return err
		}
		a.say("the next message to %s begins another session", called(p))
		return nil
	})
}

func (a *app) asideCommand() *cobra.Command {
	return &cobra.Command{
		Use: "aside", Short: "List the messages that could not be read", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			all, err := c.Aside(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(all, func() error {
				var rows [][]string
				for _, m := range all {
					rows = append(rows, []string{
						strconv.Itoa(m.Number), m.Sender, shown(m.Kind), printable(m.Code), when(m.Time), strconv.Itoa(m.Size),
					})
				}
				return table(a.out, []string{"NUMBER", "SENDER", "KIND", "CODE", "SINCE", "BYTES"}, rows)
			})
		},
	}
}

func (a *app) forgetAsideCommand() *cobra.Command {
	return &cobra.Command{
		Use: "forget NUMBER|all", Short: "Remove a message that could not be read, or all of them", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			number, err := strconv.Atoi(list[0])
			if all := list[0] == "all"; !all && (err != nil || number < 1) {
				return usageError{errors.New("a number of coldframe coordinator aside, or all")}
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			numbers := []int{number}
			if list[0] == "all" {
				if numbers, err = numbersAside(cmd.Context(), c); err != nil {
					return err
				}
			}
			for _, n := range numbers {
				if err := c.ForgetAside(cmd.Context(), n); err != nil {
					return err
				}
			}
			a.say("removed %d", len(numbers))
			return nil
		},
	}
}

func numbersAside(ctx context.Context, c *localapi.Client) (numbers []int, err error) {
	all, err := c.Aside(ctx)
	for _, m := range all {
		numbers = append(numbers, m.Number)
	}
	return numbers, err
}
