package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) secretsCommand() *cobra.Command {
	group := &cobra.Command{Use: "secrets", Short: "Secrets sent to contacts, and received from them"}
	group.AddCommand(a.sendSecretCommand(), a.listSecretsCommand(), a.showSecretCommand(), a.removeSecretCommand())
	return group
}

func (a *app) sendSecretCommand() *cobra.Command {
	var title, file, id string
	var unverified bool
	cmd := &cobra.Command{
		Use: "send CONTACT --title TITLE", Short: "Send a secret of at most 64 KiB: from a file, from standard input, or asked for",
		Long: "Sends what is in --file, or on standard input; on a terminal one line is asked for without echo. A secret is never an argument. Without a connection to the\ncoordinator nothing is queued; coldframe secrets list shows whether it left. The bytes arrive as they are, a line end at the end included.",
	}
	f := cmd.Flags()
	f.StringVarP(&title, "title", "t", "", "what it is called, on both sides")
	f.StringVar(&file, "file", "", "read the secret from this file")
	f.StringVar(&id, "id", "", "32 hexadecimal digits that you drew: the same call with the same --id has one effect")
	f.BoolVar(&unverified, "unverified", false, "send it although the safety number was not compared: that the key is theirs is the coordinator's word then")
	var body []byte
	prepare := func() (err error) {
		if title == "" {
			return usageError{errors.New("--title is needed")}
		}
		body, err = a.secretBody(file)
		return err
	}
	return a.onContact(cmd, 0, prepare, func(ctx context.Context, c *localapi.Client, p localapi.Contact, _ []string) error {
		defer clear(body)
		r := localapi.SecretRequest{To: p.User, Title: &title, Body: body}
		if id != "" {
			r.Id = &id
		}
		if unverified {
			r.Unverified = &unverified
		}
		s, err := c.SendSecret(ctx, r)
		if err != nil {
			return err
		}
		return a.answer(s, func() error { a.say("%s for %s: %s", s.State, called(p), s.Ref); return nil })
	})
}

// secretBody reads the secret to be sent.
func (a *app) secretBody(file string) ([]byte, error) {
	if file == "" && a.secrets.terminal() {
		s, err := a.secrets.ask("Secret")
		if err == nil && s == "" {
			err = errEmptySecret()
		}
		return []byte(s), err
	}
	in := a.secrets.in
	if file != "" {
		var err error
		if in, err = a.input(file); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	body, err := io.ReadAll(io.LimitReader(in, localapi.MaxSecret+1))
	switch {
	case err != nil:
		return nil, usageError{err}
	case len(body) == 0:
		return nil, errEmptySecret()
	case len(body) > localapi.MaxSecret:
		clear(body)
		return nil, fault.New(fault.TooLarge, "a secret has at most %d bytes", localapi.MaxSecret)
	}
	return body, nil
}

func errEmptySecret() error {
	return usageError{errors.New("the secret is empty: it comes from --file or from standard input")}
}

func (a *app) listSecretsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List secrets, the newest first", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			all, err := c.Secrets(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(all, func() error { return a.printSecrets(cmd.Context(), c, all) })
		},
	}
}

func (a *app) printSecrets(ctx context.Context, c *localapi.Client, all []localapi.SecretInfo) error {
	people, err := c.Contacts(ctx)
	if err != nil {
		return err
	}
	names, strangers := map[string]string{}, int64(0)
	for _, p := range people {
		names[p.User] = called(p)
		if p.State == localapi.ContactStateAsked {
			strangers++
		}
	}
	if strangers > 0 && !a.quiet {
		defer fmt.Fprintf(a.err, "%s asked to be known, and what they sent waits: coldframe contacts list\n", plural(strangers, "stranger"))
	}
	var rows [][]string
	for _, s := range all {
		other, who := s.To, "to "
		if s.State == localapi.SecretInfoStateReceived {
			other, who = s.From, "from "
		}
		if names[other] == "" {
			names[other] = other
		}
		state := string(s.State)
		if s.Code != nil {
			state += " (" + printable(*s.Code) + ")"
		}
		rows = append(rows, []string{
			printable(s.Title), state, who + names[other], when(s.Since), map[bool]string{true: "yes", false: "no"}[s.Verified], s.Ref[:min(12, len(s.Ref))],
		})
	}
	return table(a.out, []string{"TITLE", "STATE", "CONTACT", "SINCE", "VERIFIED", "REF"}, rows)
}

// findSecret returns the reference that a person means: a whole one, or a beginning (6 characters or more) that fits only one.
func findSecret(ctx context.Context, c *localapi.Client, ref string) (string, error) {
	all, err := c.Secrets(ctx)
	if err != nil {
		return "", err
	}
	found := slices.DeleteFunc(all, func(s localapi.SecretInfo) bool { return !strings.HasPrefix(s.Ref, ref) })
	switch {
	case len(found) == 0 || !idStart.MatchString(ref):
		return "", fault.New(fault.NotFound, "no secret has the reference %q: coldframe secrets list shows them", ref)
	case len(found) > 1:
		return "", fault.New(fault.Conflict, "%d secrets fit %q: give more of the reference", len(found), ref)
	}
	return found[0].Ref, nil
}

func (a *app) agentAndSecret(ctx context.Context, arg string) (c *localapi.Client, ref string, err error) {
	if c, err = a.agent(ctx); err != nil {
		return nil, "", err
	}
	ref, err = findSecret(ctx, c, arg)
	return c, ref, err
}

func (a *app) showSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show REF", Short: "Write a secret to standard output, byte for byte", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, ref, err := a.agentAndSecret(cmd.Context(), list[0])
			if err != nil {
				return err
			}
			s, err := c.Secret(cmd.Context(), ref)
			if err != nil {
				return err
			}
			defer clear(s.Body)
			return a.answer(s, func() error { return a.writeSecret(s.Body, term.IsTerminal(int(os.Stdout.Fd()))) })
		},
	}
}

// writeSecret writes a secret as it is. A terminal gets text only: somebody else chose these bytes.
func (a *app) writeSecret(body []byte, terminal bool) error {
	if terminal && !isText(body) {
		return usageError{errors.New("this secret is not for a terminal, it holds more than text: redirect it, or --json")}
	}
	if _, err := a.out.Write(body); err != nil {
		return err
	}
	if terminal && body[len(body)-1] != '\n' {
		_, err := fmt.Fprintln(a.out)
		return err
	}
	return nil
}

// isText reports whether bytes are text that does nothing to a terminal but fill it.
func isText(b []byte) bool {
	odd := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
	return len(b) > 0 && utf8.Valid(b) && !strings.ContainsFunc(string(b), odd)
}

// fates say what became of the message of a secret that was removed.
var fates = map[localapi.SecretRemovalMessage]string{
	localapi.SecretRemovalMessageCancelled: "; its message is not sent",
	localapi.SecretRemovalMessageLeft:      "; its message has left: the contact has it, or will",
	localapi.SecretRemovalMessageElsewhere: "; another machine of yours was to send it, and does not if it has not yet when it learns of this",
}

func (a *app) removeSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove REF", Aliases: []string{"rm"}, Short: "Remove a secret from your vault; the other side's copy stays", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, ref, err := a.agentAndSecret(cmd.Context(), list[0])
			if err != nil {
				return err
			}
			r, err := c.RemoveSecret(cmd.Context(), ref)
			if err != nil {
				return err
			}
			return a.answer(r, func() error { a.say("removed %s%s", ref, fates[r.Message]); return nil })
		},
	}
}
