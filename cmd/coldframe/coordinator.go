package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

const (
	maxCAFile         = 64 << 10
	maxInvitationFile = 1 << 10
)

func (a *app) coordinatorCommand() *cobra.Command {
	group := &cobra.Command{Use: "coordinator", Short: "The server that forwards messages and keeps sealed copies"}
	group.AddCommand(
		a.showCoordinatorCommand(), a.connectCommand(), a.restoreCoordinatorCommand(), a.disconnectCommand(), a.clearFindingCommand(),
		a.restartPreKeysCommand(), a.asideCommand(), a.forgetAsideCommand(), a.deleteAccountCommand(),
	)
	return group
}

func (a *app) showCoordinatorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Which coordinator the account uses, and how it stands with it", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			r, err := c.Coordinator(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(r, func() error { return a.printCoordinator(r) })
		},
	}
}

func (a *app) printCoordinator(c localapi.Coordinator) error {
	lines := []string{printable(c.Url) + " " + standing(string(c.State), c.Error)}
	if c.Ca != nil {
		lines = append(lines, "vouched for by certificates of its own")
	}
	if c.Sync != nil {
		lines = append(lines, linesOfSync(c.Sync)...)
	}
	_, err := fmt.Fprintln(a.out, strings.Join(lines, "\n"))
	return err
}

const freshSteps = "approve this machine on another one or, if it is one of yours, have another one online for a moment; if none can be, coldframe devices trust-vault; if all are lost, coldframe devices recover"

const apartSteps = ": there are two vaults of this account. If this machine had left the coordinator, and changed, while another one went on there: coldframe coordinator disconnect keeps this one as it is; an agent with other folders can be one of your machines there (coldframe login), and take tables along by coldframe get and put"

const olderSteps = ": the coordinator has an older vault than this machine; if its operator says that it was restored from a backup: coldframe coordinator restore"

const otherKeysSteps = ": the coordinator has prekeys under your id that are not yours. Either it lies, or somebody stole a session: coldframe password ends all of them; then coldframe coordinator restart-prekeys puts your keys in their place"

// stepsAfter are what a person does after a failure, if there is anything.
var stepsAfter = map[localapi.SyncFailure]string{
	{Task: localapi.SyncFailureTaskVault, Code: string(fault.RolledBack)}:   olderSteps,
	{Task: localapi.SyncFailureTaskVault, Code: string(fault.Forked)}:       apartSteps,
	{Task: localapi.SyncFailureTaskPrekeys, Code: string(fault.KeyChanged)}: otherKeysSteps,
	{Task: localapi.SyncFailureTaskPrekeys, Code: string(fault.Conflict)}:   otherKeysSteps,
}

// linesOfSync says what a person should know of what is done with the coordinator.
func linesOfSync(s *localapi.SyncStatus) []string {
	lines := []string{fmt.Sprintf("this machine: %s; %d messages to be sent, %d set aside", printable(s.Device), s.Outbox, s.SetAside)}
	if s.Fresh {
		lines = append(lines, "nobody but the coordinator says that this vault is the newest, and nothing is signed or sent: "+freshSteps)
	}
	for _, f := range s.Failures {
		lines = append(lines, fmt.Sprintf("%s: %s%s", f.Task, printable(f.Code), stepsAfter[f]))
	}
	return append(lines, linesOfDoubt(s)...)
}

// standing is a state with what keeps it from being online.
func standing(state string, code *string) string {
	switch {
	case state == "login_needed":
		return "login needed: lock and unlock with the password; if it was changed on another machine, lock and coldframe login --coordinator URL [--ca FILE] [--kit FILE]; if the coordinator was restored from a backup, coldframe coordinator restore [--kit FILE]"
	case code == nil || *code == "":
		return state
	}
	line := state + " (" + printable(*code) + ")"
	switch {
	case state == "refused" && *code == string(fault.Unauthorized):
		line += ": it does not take this password, or the account is disabled; if the password was changed on another machine, lock and coldframe login --coordinator URL [--ca FILE]"
	case state == "offline" && *code == string(fault.NotAuthentic):
		line += ": its certificate is not one that this machine takes, or it is no coordinator; coldframe coordinator connect URL --ca FILE takes another one"
	}
	return line
}

// joinFlags say how to reach a coordinator. An invitation is a secret: it is asked for, or read from a file, and never an argument.
type joinFlags struct {
	ca, invitationFile string
	invitation         bool
}

func (f *joinFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "ca", "", "file of the certificates in PEM that alone vouch for the coordinator")
	flags.BoolVar(&f.invitation, "invitation", false, "ask for the invitation that the coordinator's operator gave")
	flags.StringVar(&f.invitationFile, "invitation-file", "", "read the invitation from this file")
}

// check finds what can be no coordinator before anything is asked for or done. Without an address there must be no flag either.
func (f *joinFlags) check(address string) error {
	switch {
	case f.invitation && f.invitationFile != "":
		return usageError{errors.New("--invitation or --invitation-file, not both")}
	case address != "":
		return checkAddress(address)
	case *f != joinFlags{}:
		return usageError{errors.New("--ca, --invitation and --invitation-file go with --coordinator URL")}
	}
	return nil
}

// checkAddress takes what can be the address of a coordinator; whether the agent's configuration allows it the agent knows.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && strings.Trim(u.Path, "/") == "" &&
		u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" {
		return nil
	}
	return usageError{errors.New("the address of a coordinator is https://host[:port] and nothing else")} // err may hold a password
}

// request returns what is needed to join, but for the password; it may ask for the invitation. The flags were checked.
func (a *app) request(address string, f joinFlags) (localapi.CoordinatorRequest, error) {
	r := localapi.CoordinatorRequest{Url: address}
	var invitation string
	var err error
	switch {
	case f.invitation:
		invitation, err = a.secrets.ask("Invitation")
	case f.invitationFile != "":
		invitation, err = readShort(f.invitationFile, maxInvitationFile)
	}
	if invitation = strings.TrimSpace(invitation); invitation != "" {
		r.Invitation = &invitation
		if err == nil && !isInvitation.MatchString(invitation) {
			err = usageError{errors.New("an invitation is cfi_ and 26 letters and digits")}
		}
	}
	if err == nil && f.ca != "" {
		var text string
		text, err = readShort(f.ca, maxCAFile)
		if r.Ca = &text; err == nil && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
			err = usageError{fmt.Errorf("%s: there is no certificate in PEM in it", f.ca)}
		}
	}
	return r, err
}

var isInvitation = regexp.MustCompile(`^cfi_[A-Z2-7]{26}$`)

// readShort reads a small file.
func readShort(path string, most int64) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", usageError{err}
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", usageError{fmt.Errorf("%s: a file of at most %d bytes is wanted", path, most)}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", usageError{err}
	}
	return string(b), nil
}

func (a *app) connectCommand() *cobra.Command {
	var f joinFlags
	var kitFile string
	cmd := &cobra.Command{
		Use: "connect URL", Short: "Join a coordinator, or log in again (asks for the password)", Args: args(cobra.ExactArgs(1)),
		Long: "Joins a coordinator, or logs in again. Where the account left it, and another machine of yours went on there, what that one changed is taken over if nothing\n" +
			"changed here meanwhile. If something did, the two do not go together, and coldframe coordinator show says forked.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := cmp.Or(f.check(list[0]), checkAddress(list[0])); err != nil {
				return err
			}
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			r, err := a.request(list[0], f)
			if err != nil {
				return err
			}
			r.Password = password
			if kitFile != "" {
				kit, err := readKit(kitFile)
				if err != nil {
					return err
				}
				r.RecoveryKit = &kit
			}
			joined, err := c.ConnectCoordinator(cmd.Context(), r)
			if err != nil {
				return withJoinAdvice(err)
			}
			return a.answer(joined, func() error { a.say("joined %s", printable(joined.Url)); return nil })
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&kitFile, "kit", "", "file of the recovery kit, so that it logs in where the password is lost")
	return cmd
}

func (a *app) disconnectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "disconnect", Short: "Log out and use no coordinator; the account there stays (asks for the password)", Args: args(cobra.NoArgs),
		Long: "Logs out and uses no coordinator, also where it does not answer any more. Tables, contacts and the secrets that came stay on this machine; none are sent or\n" +
			"received. The account can join the same coordinator again, at the same address, but no other: its contacts and devices are there. If this machine and another\n" +
			"one of yours both change something before that, the two no longer go together, and this one stays an account of its own.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.DisconnectCoordinator(cmd.Context(), password); err != nil {
				return err
			}
			a.say("no coordinator is used; coldframe coordinator connect, with the same address, goes on")
			return nil
		},
	}
}

func (a *app) deleteAccountCommand() *cobra.Command {
	gone := false
	cmd := &cobra.Command{
		Use: "delete-account", Short: "Remove the account at the coordinator (asks for the password, and for the coordinator's address)", Args: args(cobra.NoArgs),
		Long: "Removes the account at the coordinator and everything that is kept for it there: it can not be brought back. This machine keeps the account, with all its data, and needs no coordinator then.\n" +
			"Messages that wait to be sent or fetched are gone. Your other machines stay as they are: coldframe coordinator disconnect makes their accounts local ones, too.\n" +
			"Where an answer was lost and the coordinator lets this password in no more, the account is gone, or disabled, or has another password: --gone says that it is gone.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			r, err := c.Coordinator(cmd.Context())
			if err != nil {
				return err
			}
			password, err := a.secrets.ask("Password")
			if err != nil {
				return err
			}
			typed, err := a.confirm("Type " + printable(r.Url) + " to remove the account there for good")
			if err == nil && typed != r.Url {
				err = fault.New(fault.InvalidRequest, "this is not the coordinator's address; nothing was done")
			}
			if err != nil {
				return err
			}
			if err := c.DeleteCoordinatorAccount(cmd.Context(), password, r.Url, gone); err != nil {
				return withAdvice(deletionAdvice, err)
			}
			a.say("the account at the coordinator is deleted; here it is a local one, with all its data")
			return nil
		},
	}
	cmd.Flags().BoolVar(&gone, "gone", false, "the account is known to be gone, where a deletion broke off and the coordinator refuses the password since")
	return cmd
}

// deletionAdvice is for refusals of the agent's after which the account may be there or not.
var deletionAdvice = []wordedAdvice{
	{fault.Unavailable, "whether the account is deleted", "the same command again finishes what has begun; until then the account may be there or not"},
	{fault.Forbidden, "it is gone", "if you know that it is gone, --gone finishes here; if the password was changed elsewhere, lock and coldframe login --coordinator URL"},
}

// joinNew joins an account that was just made, whose kit is in the user's hands already.
func (a *app) joinNew(ctx context.Context, c *localapi.Client, r localapi.CoordinatorRequest) error {
	joined, err := c.ConnectCoordinator(ctx, r)
	if err != nil {
		if !a.json {
			fmt.Fprintln(a.err, "the account is made, without the coordinator: coldframe coordinator connect URL --kit FILE tries again; without --kit a lost password cannot be replaced")
		}
		return withJoinAdvice(err)
	}
	a.say("joined %s", printable(joined.Url))
	return nil
}

// wordedAdvice is what to do after a refusal of the agent's whose text has a word.
type wordedAdvice struct {
	code         fault.Code
	word, advice string
}

// joinAdvice names the flags.
var joinAdvice = []wordedAdvice{
	{fault.Forbidden, "invitation", "--invitation asks for the invitation, --invitation-file FILE reads it"},
	{fault.NotAuthentic, "certificate", "--ca FILE names the certificates to trust, where the coordinator's is self-signed"},
}

// anywhereAdvice is for refusals of the agent's that any command may meet.
var anywhereAdvice = []wordedAdvice{
	{fault.RolledBack, "the vault is at change", "coldframe coordinator show says what can be done"},
	{fault.NotFound, "no coordinator is set", "coldframe coordinator connect URL sets one"},
	{fault.Unavailable, "no coordinator is set", "coldframe coordinator connect URL sets one"},
	{fault.Stale, "says that this vault is the newest", "coldframe coordinator show says what can be done"},
	{fault.Forked, "another vault or device list", "coldframe coordinator show says what can be done"},
}

func withJoinAdvice(err error) error { return withAdvice(joinAdvice, err) }

func withAdvice(list []wordedAdvice, err error) error {
	for _, a := range list {
		if codeOf(err) == a.code && strings.Contains(err.Error(), a.word) {
			return advised{err, a.advice}
		}
	}
	return err
}
