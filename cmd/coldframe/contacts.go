package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) contactsCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "contacts", Short: "Whom you know, and who asks to be known",
		Long: "CONTACT is an id (or the beginning of one that fits only one), an e-mail address, or a name, as coldframe contacts list shows them.",
	}
	group.AddCommand(
		a.listContactsCommand(), a.addContactCommand(), a.showContactCommand(), a.acceptContactCommand(), a.blockContactCommand(),
		a.renameContactCommand(), a.removeContactCommand(), a.verifyContactCommand(), a.resolveContactCommand(), a.restartContactCommand(),
	)
	return group
}

func findContact(ctx context.Context, c *localapi.Client, name string) (localapi.Contact, error) {
	all, err := c.Contacts(ctx)
	if err != nil {
		return localapi.Contact{}, err
	}
	return oneContact(all, name)
}

// oneContact returns the contact that name stands for: an id, an e-mail address or a name, or the beginning of an id (6 characters or
// more), if it fits only one.
func oneContact(all []localapi.Contact, name string) (localapi.Contact, error) {
	if i := slices.IndexFunc(all, func(p localapi.Contact) bool { return p.User == name }); i >= 0 { // whatever others are called
		return all[i], nil
	}
	found := contactsBy(all, func(p localapi.Contact) bool {
		return p.Name != nil && *p.Name == name || p.Email != nil && strings.EqualFold(*p.Email, name)
	})
	if len(found) == 0 && idStart.MatchString(name) {
		found = contactsBy(all, func(p localapi.Contact) bool { return strings.HasPrefix(p.User, name) })
	}
	switch len(found) {
	case 0:
		return localapi.Contact{}, fault.New(fault.NotFound, "no contact has the id, address or name %q: coldframe contacts list shows them", name)
	case 1:
		return found[0], nil
	}
	return localapi.Contact{}, fault.New(fault.Conflict, "%d contacts fit %q: name one by its id", len(found), name)
}

func contactsBy(all []localapi.Contact, fits func(localapi.Contact) bool) []localapi.Contact {
	return slices.DeleteFunc(slices.Clone(all), func(p localapi.Contact) bool { return !fits(p) })
}

// called is how a person knows a contact.
func called(p localapi.Contact) string {
	for _, s := range []*string{p.Name, p.Email} {
		if s != nil && *s != "" {
			return printable(*s)
		}
	}
	return p.User
}

// onContact makes a command that works on the one contact its first argument names. prepare, if there is one, judges the flags before
// anything is asked.
func (a *app) onContact(
	cmd *cobra.Command, extra int, prepare func() error, do func(ctx context.Context, c *localapi.Client, p localapi.Contact, rest []string) error,
) *cobra.Command {
	cmd.Args = args(cobra.ExactArgs(1 + extra))
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if prepare != nil {
			if err := prepare(); err != nil {
				return err
			}
		}
		c, err := a.agent(cmd.Context())
		if err != nil {
			return err
		}
		p, err := findContact(cmd.Context(), c, list[0])
		if err != nil {
			return err
		}
		return whatNext(do(cmd.Context(), c, p, list[1:]), p)
	}
	return cmd
}

// whatNext adds to a failure what can be done about it, by the contact's state.
func whatNext(err error, p localapi.Contact) error {
	switch {
	case err == nil:
		return nil
	case codeOf(err) == fault.UntrustedKey:
		return advised{err, fmt.Sprintf("compare the number first: coldframe contacts verify %s; --unverified sends it all the same", p.User)}
	case p.State == localapi.ContactStateAsked && codeOf(err) == fault.Forbidden:
		return advised{err, "consent first: coldframe contacts accept " + p.User}
	case p.State == localapi.ContactStateChanged && (codeOf(err) == fault.KeyChanged || codeOf(err) == fault.Forked):
		return advised{err, fmt.Sprintf("coldframe contacts verify %[1]s shows both numbers; then coldframe contacts resolve %[1]s --take new --number N, or --take old", p.User)}
	}
	return err
}

func (a *app) listContactsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List contacts, and strangers who ask", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			all, err := c.Contacts(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(all, func() error {
				var rows [][]string
				for _, p := range all {
					rows = append(rows, []string{shown(p.Name), shown(p.Email), string(p.State), compared(p), when(p.Added), p.User})
				}
				return table(a.out, []string{"NAME", "E-MAIL", "STATE", "VERIFIED", "ADDED", "ID"}, rows)
			})
		},
	}
}

// shown is a text that may be absent, in a table.
func shown(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return printable(*s)
}

func compared(p localapi.Contact) string {
	if p.VerifiedAt == nil {
		return "no"
	}
	return when(*p.VerifiedAt)
}

func (a *app) addContactCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "add EMAIL|ID", Short: "Add somebody: their keys are pinned as the coordinator gives them", Args: args(cobra.ExactArgs(1)),
		Long: "Looks somebody up at the coordinator and pins their keys. That they are theirs is the coordinator's word until you compare the safety number\n(coldframe contacts verify); secrets go to them after that.",
		RunE: func(cmd *cobra.Command, list []string) error {
			r := localapi.ContactRequest{User: &list[0]}
			if strings.Contains(list[0], "@") {
				r = localapi.ContactRequest{Email: &list[0]}
			}
			if name != "" {
				r.Name = &name
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.AddContact(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.answer(p, func() error {
				a.say("added %s (%s); now compare the number: coldframe contacts verify %[2]s", called(p), p.User)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what you call them")
	return cmd
}

func (a *app) showContactCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show CONTACT", Short: "One contact: keys compared, changed, replaced"}
	return a.onContact(cmd, 0, nil, func(_ context.Context, _ *localapi.Client, p localapi.Contact, _ []string) error {
		return a.answer(p, func() error { return a.printContact(p) })
	})
}

func (a *app) printContact(p localapi.Contact) error {
	_, err := fmt.Fprintf(a.out, "name      %s\ne-mail    %s\nid        %s\nstate     %s\nadded     %s\nverified  %s\n",
		shown(p.Name), shown(p.Email), p.User, p.State, when(p.Added), compared(p))
	if err == nil && p.Weak != nil && *p.Weak {
		_, err = fmt.Fprintln(a.out, "session   weak until they answer: the coordinator had no one-time prekey of theirs")
	}
	if err == nil && p.Changed != nil {
		_, err = fmt.Fprintf(a.out, "changed   %s, seen %s\n", p.Changed.Reason, when(p.Changed.SeenAt))
	}
	for _, f := range deref(p.Former) {
		if err == nil {
			_, err = fmt.Fprintf(a.out, "replaced  %s, %s\n", when(f.Until), map[bool]string{true: "verified", false: "not verified"}[f.Verified])
		}
	}
	return err
}

func (a *app) acceptContactCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "accept CONTACT", Short: "Consent to a stranger, or unblock: what they sent becomes visible"}
	return a.onContact(cmd, 0, nil, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		p, err := c.AcceptContact(ctx, p.User)
		return a.changed(p, err, "accepted")
	})
}

func (a *app) blockContactCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "block CONTACT", Short: "Drop what waits of somebody, and whatever they send from now on"}
	return a.onContact(cmd, 0, nil, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		p, err := c.BlockContact(ctx, p.User)
		return a.changed(p, err, "blocked")
	})
}

func (a *app) renameContactCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rename CONTACT NAME", Short: "Change what you call a contact"}
	return a.onContact(cmd, 1, nil, func(ctx context.Context, c *localapi.Client, p localapi.Contact, rest []string) error {
		p, err := c.RenameContact(ctx, p.User, rest[0])
		return a.changed(p, err, "renamed")
	})
}

// changed answers with a contact after a change.
func (a *app) changed(p localapi.Contact, err error, what string) error {
	if err != nil {
		return err
	}
	return a.answer(p, func() error { a.say("%s %s (%s)", what, called(p), p.User); return nil })
}

func (a *app) removeContactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove CONTACT", Aliases: []string{"rm"}, Short: "Forget a contact but for their keys, or decline a stranger",
		Long: "Forgets a contact. Their keys are kept, so that adding them again is no way to other ones; secrets that they sent stay. A stranger who is\ndeclined leaves nothing.",
	}
	return a.onContact(cmd, 0, nil, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		if err := c.RemoveContact(ctx, p.User); err != nil {
			return err
		}
		a.say("removed %s (%s)", called(p), p.User)
		return nil
	})
}

func (a *app) verifyContactCommand() *cobra.Command {
	var number string
	var undo bool
	cmd := &cobra.Command{
		Use: "verify CONTACT", Short: "Show the safety number, or note with --number that you compared it",
		Long: "Without flags: shows the safety number, which the other side sees too if nobody sits between you, and its code to be scanned. Compare it over a way\nthat the coordinator has no hand in: side by side, or by telephone. --number notes the comparison; it takes the number as the other side has it.",
	}
	cmd.Flags().StringVar(&number, "number", "", "the 60 digits as the other side has them, with spaces or without")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the comparison back")
	prepare := func() error {
		if undo && number != "" {
			return usageError{errors.New("--number or --undo, not both")}
		}
		if cmd.Flags().Changed("number") && number == "" {
			return usageError{errors.New("--number has no digits")}
		}
		return nil
	}
	return a.onContact(cmd, 0, prepare, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		switch {
		case undo:
			p, err := c.UnverifyContact(ctx, p.User)
			return a.changed(p, err, "no longer verified:")
		case number != "":
			p, err := c.VerifyContact(ctx, p.User, localapi.Comparison{Number: &number})
			return a.changed(p, err, "verified")
		}
		return a.showNumbers(ctx, c, p)
	})
}

// showNumbers shows the safety number, and while the contact is changed both.
func (a *app) showNumbers(ctx context.Context, c *localapi.Client, p localapi.Contact) error {
	n, err := c.SafetyNumber(ctx, p.User)
	if err != nil {
		return err
	}
	return a.answer(n, func() error {
		colours := term.IsTerminal(int(os.Stdout.Fd()))
		if n.New != nil {
			a.say("With the keys of before:")
		}
		if err := writeSafetyNumber(a.out, n.Groups, n.Code, colours); err != nil {
			return err
		}
		if n.New == nil {
			a.say("The same number on %s's screen? Then: coldframe contacts verify %s --number NUMBER. The code holds it for an app that scans, and is another on each screen.", called(p), p.User)
			return nil
		}
		a.say("\nWith the keys that were seen since:")
		if err := writeSafetyNumber(a.out, n.New.Groups, n.New.Code, colours); err != nil {
			return err
		}
		a.say("Which is on %s's screen? Then: coldframe contacts resolve %s --take new --number NUMBER, or --take old", called(p), p.User)
		return nil
	})
}

func (a *app) resolveContactCommand() *cobra.Command {
	var take, number string
	cmd := &cobra.Command{
		Use: "resolve CONTACT --take new --number NUMBER | --take old", Short: "End that a contact's keys have changed: take the new ones, or keep the old ones",
		Long: "While a contact is changed nothing is sent to them and what comes waits. --take new wants the safety number with the new keys as the other side has\nit; the old keys are revoked for good. --take old drops what was seen, with all that came under it.",
	}
	cmd.Flags().StringVar(&take, "take", "", "new or old")
	cmd.Flags().StringVar(&number, "number", "", "with --take new: the 60 digits with the new keys, as the other side has them")
	prepare := func() error {
		switch {
		case take != "new" && take != "old":
			return usageError{errors.New("--take new or --take old is needed")}
		case take == "new" && number == "":
			return usageError{errors.New("--take new wants --number: the safety number as the other side has it")}
		case take == "old" && number != "":
			return usageError{errors.New("--number goes with --take new")}
		}
		return nil
	}
	return a.onContact(cmd, 0, prepare, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		r := localapi.Resolution{Take: localapi.ResolutionTake(take)}
		if number != "" {
			r.Number = &number
		}
		p, err := c.ResolveContact(ctx, p.User, r)
		return a.changed(p, err, "took the "+take+" keys of")
	})
}
