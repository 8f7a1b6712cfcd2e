package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) devicesCommand() *cobra.Command {
	list := a.listDevicesCommand()
	group := &cobra.Command{
		Use: "devices", Short: "Your machines, and the way of another one among them", Args: args(cobra.NoArgs), RunE: list.RunE,
		Long: "A machine that logged in asks (coldframe devices ask) and shows a code; typed in on one of yours (coldframe devices approve), it makes the new one yours, too.\n" +
			"DEVICE is an id, the beginning of one that fits only one, or a name.",
	}
	group.AddCommand(
		list, a.askCommand(), a.requestsCommand(), a.approveCommand(), a.renameDeviceCommand(), a.removeDeviceCommand(),
		a.recoverDevicesCommand(), a.acceptRecoveryCommand(), a.trustVaultCommand(), a.resetDeviceCommand(),
	)
	return group
}

func (a *app) listDevicesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your machines", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			l, err := c.Devices(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(l, func() error { return a.printDevices(l) })
		},
	}
}

func (a *app) printDevices(l localapi.DeviceList) error {
	if l.Devices != nil {
		var rows [][]string
		for _, d := range *l.Devices {
			this := ""
			if d.This {
				this = "this machine"
			}
			rows = append(rows, []string{printable(d.Name), when(d.Added), when(d.KeyTime), d.Id, this})
		}
		if err := table(a.out, []string{"NAME", "ADDED", "KEY OF", "ID", ""}, rows); err != nil {
			return err
		}
	}
	if l.State != localapi.DeviceStateListed || l.Error != nil {
		a.say("this machine: %s", place(l.State, l.Error))
	}
	return nil
}

// place is where this machine stands among the user's, and what can be done about it.
func place(state localapi.DeviceState, code *string) string {
	text := string(state)
	if code != nil && *code != "" {
		text += " (" + printable(*code) + ")"
	}
	if next, ok := nextSteps[state]; ok {
		text += ": " + next
	}
	return text
}

var nextSteps = map[localapi.DeviceState]string{
	localapi.DeviceStateUnlisted:  "coldframe devices ask asks your other machines",
	localapi.DeviceStateAsking:    "type its code in on one of your machines: coldframe devices approve",
	localapi.DeviceStateRemoved:   "coldframe devices reset makes it another one, which may ask",
	localapi.DeviceStateRecovered: "a machine began your list again; if that was you, coldframe devices accept-recovery; if not, your vault is in other hands",
}

// machineName is what this machine is called if its user says nothing.
func machineName(list []string) string {
	if len(list) > 0 {
		return list[0]
	}
	name, err := os.Hostname()
	if err != nil || name == "" || len(name) > 64 {
		return "machine"
	}
	return name
}

func (a *app) askCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ask [NAME]", Short: "Ask your machines to take this one, and show the code to be typed in there", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.AskToJoin(cmd.Context(), machineName(list))
			if err != nil {
				return afterReset(err)
			}
			return a.answer(p, func() error {
				_, err := fmt.Fprintln(a.out, p.Code)
				if err == nil && !a.quiet {
					_, err = fmt.Fprintln(a.out, "type it in on one of your machines: coldframe devices approve. It is good until you ask under another name")
				}
				return err
			})
		},
	}
}

func afterReset(err error) error {
	if codeOf(err) == fault.Revoked {
		return advised{err, "coldframe devices reset makes it another one, which may ask"}
	}
	return err
}

func (a *app) requestsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "requests", Short: "List machines that ask to be yours", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			l, err := c.DeviceRequests(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(l, func() error {
				var rows [][]string
				for _, r := range l {
					rows = append(rows, []string{printable(r.Name), when(r.Time), r.Device})
				}
				return table(a.out, []string{"NAME (AS IT SAYS)", "ASKED", "ID"}, rows)
			})
		},
	}
}

// machine is a device or a request, as an argument names it.
type machine struct{ id, name string }

// oneMachine returns the one that an argument stands for.
func oneMachine(all []machine, arg string) (machine, error) {
	var found []machine
	for _, fits := range []func(machine) bool{
		func(m machine) bool { return m.id == arg || m.name == arg },
		func(m machine) bool { return idStart.MatchString(arg) && strings.HasPrefix(m.id, arg) },
	} {
		for _, m := range all {
			if fits(m) {
				found = append(found, m)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return machine{}, fault.New(fault.NotFound, "no machine has the id or name %q", arg)
	case 1:
		return found[0], nil
	}
	return machine{}, fault.New(fault.Conflict, "%d machines fit %q: name one by its id", len(found), arg)
}

func (a *app) approveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "approve [DEVICE]", Short: "Make a machine yours with the code that it shows (asks for both)", Args: args(cobra.MaximumNArgs(1)),
		Long: "Asks for the code that the other machine shows, and for the password. DEVICE may be left out where one machine asks.",
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			m, err := asking(cmd.Context(), c, list)
			if err != nil {
				return err
			}
			r := localapi.DeviceApproval{}
			if r.Code, err = a.secrets.ask("Code that " + printable(m.name) + " shows"); err != nil {
				return err
			}
			if r.Password, err = a.secrets.ask("Password"); err != nil {
				return err
			}
			if err := c.ApproveDevice(cmd.Context(), m.id, r); err != nil {
				if codeOf(err) == fault.UntrustedKey {
					return advised{err, "look at the code again. If it is right, somebody else's machine asks under this name"}
				}
				return err
			}
			a.say("%s is one of your machines", printable(m.name))
			return nil
		},
	}
}

// asking returns the machine that asks and is meant.
func asking(ctx context.Context, c *localapi.Client, list []string) (machine, error) {
	requests, err := c.DeviceRequests(ctx)
	if err != nil {
		return machine{}, err
	}
	all := make([]machine, len(requests))
	for i, r := range requests {
		all[i] = machine{r.Device, r.Name}
	}
	switch {
	case len(list) == 1:
		return oneMachine(all, list[0])
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return machine{}, fault.New(fault.NotFound, "no machine asks")
	}
	return machine{}, fault.New(fault.Conflict, "%d machines ask: name one, as coldframe devices requests shows them", len(all))
}

// listed returns the machine on the list that an argument stands for.
func listed(ctx context.Context, c *localapi.Client, arg string) (machine, error) {
	l, err := c.Devices(ctx)
	if err != nil {
		return machine{}, err
	}
	if l.Devices == nil {
		code := fault.Unavailable
		if l.Error != nil {
			code = fault.Code(*l.Error)
		}
		return machine{}, fault.New(code, "the list of your machines cannot be had: this one is %s", l.State)
	}
	var all []machine
	for _, d := range *l.Devices {
		all = append(all, machine{d.Id, d.Name})
	}
	return oneMachine(all, arg)
}

func (a *app) agentAndMachine(ctx context.Context, arg string) (*localapi.Client, machine, error) {
	c, err := a.agent(ctx)
	if err != nil {
		return nil, machine{}, err
	}
	m, err := listed(ctx, c, arg)
	return c, m, err
}

func (a *app) renameDeviceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rename DEVICE NAME", Short: "Call a machine something else", Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, m, err := a.agentAndMachine(cmd.Context(), list[0])
			if err != nil {
				return err
			}
			return c.RenameDevice(cmd.Context(), m.id, list[1])
		},
	}
}

func (a *app) removeDeviceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove DEVICE", Aliases: []string{"rm"}, Short: "Remove a machine for ever (asks for the password)", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, m, err := a.agentAndMachine(cmd.Context(), list[0])
			if err != nil {
				return err
			}
			password, err := a.secrets.ask("Password")
			if err != nil {
				return err
			}
			if err := c.RemoveDevice(cmd.Context(), m.id, password); err != nil {
				return err
			}
			a.say("%s is removed. If somebody else has it, change the password as well: coldframe password", printable(m.name))
			return nil
		},
	}
}

func (a *app) recoverDevicesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "recover [NAME]", Short: "All other machines are lost: begin again with this one (asks for the password)", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.RecoverDevices(cmd.Context(), localapi.DeviceRecovery{Name: machineName(list), Password: password}); err != nil {
				return err
			}
			a.say("this is your only machine now; all others are removed")
			return nil
		},
	}
}

func (a *app) acceptRecoveryCommand() *cobra.Command {
	return a.withPassword(
		"accept-recovery", "Say that it was you who began again on another machine (asks for the password)",
		"followed; this machine is none of yours any more: coldframe devices reset, then ask",
		(*localapi.Client).AcceptRecovery,
	)
}

func (a *app) trustVaultCommand() *cobra.Command {
	return a.withPassword(
		"trust-vault", "Say that the vault here is the newest, or the right one of two (asks for the password)",
		"the vault of this machine is taken for the newest", (*localapi.Client).TrustVault,
	)
}

func (a *app) resetDeviceCommand() *cobra.Command {
	return a.withPassword(
		"reset", "Make this machine another one, which may ask (asks for the password)",
		"this machine is another one now: coldframe devices ask", (*localapi.Client).ResetDevice,
	)
}

// withPassword makes a command that needs the password and nothing else.
func (a *app) withPassword(use, short, done string, do func(*localapi.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, password, err := a.agentAndPassword(cmd.Context())
			if err != nil {
				return err
			}
			if err := do(c, cmd.Context(), password); err != nil {
				return err
			}
			a.say("%s", done)
			return nil
		},
	}
}
