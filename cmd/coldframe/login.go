package main

import (
	"errors"

	"github.com/spf13/cobra"

	"coldframe/localapi"
)

func (a *app) loginCommand() *cobra.Command {
	var coordinator, kitFile, ca string
	var lost bool
	cmd := &cobra.Command{
		Use: "login", Short: "Use an account on a further machine, or after its password was changed on another (asks for the password)", Args: args(cobra.NoArgs),
		Long: "On a machine that has the account, locked, the password that another machine set opens it; --kit is needed only if the address changed as well.\n" +
			"Else: fetches the vault of an account from its coordinator into an agent that has none. The kit says whose it is and how it opens; nothing of that is taken from the coordinator.\n" +
			"Where the password is lost, --new-password sets another, and the kit alone opens the account. The machine reads then; coldframe devices ask makes it one of yours.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := loginRequest(coordinator, kitFile, ca)
			if err != nil {
				return err
			}
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			var password string
			if lost {
				password, err = a.secrets.askNew("New password (coldframe passphrase makes a good one)")
				r.NewPassword = &password
			} else {
				password, err = a.secrets.ask("Password")
				r.Password = &password
			}
			if err == nil {
				err = c.Login(cmd.Context(), r)
			}
			if err != nil {
				return withJoinAdvice(err)
			}
			if r.RecoveryKit == nil {
				a.say("unlocked")
				return nil
			}
			a.say("logged in and unlocked. coldframe devices ask makes this machine one of yours; until then it only reads. If no other is left: coldframe devices recover")
			return nil
		},
	}
	cmd.Flags().StringVar(&coordinator, "coordinator", "", "address of the account's coordinator, https://host[:port]")
	cmd.Flags().StringVar(&kitFile, "kit", "", "file with the recovery kit")
	cmd.Flags().StringVar(&ca, "ca", "", "file of the certificates in PEM that alone vouch for the coordinator")
	cmd.Flags().BoolVar(&lost, "new-password", false, "the password is lost: open with the kit and set a new one")
	return cmd
}

// loginRequest reads the files of a login.
func loginRequest(coordinator, kitFile, ca string) (r localapi.LoginRequest, err error) {
	if coordinator == "" {
		return r, usageError{errors.New("--coordinator URL is needed")}
	}
	if err := checkAddress(coordinator); err != nil {
		return r, err
	}
	r.Url = coordinator
	if kitFile != "" {
		kit, err := readKit(kitFile)
		if err != nil {
			return r, err
		}
		r.RecoveryKit = &kit
	}
	if ca == "" {
		return r, nil
	}
	pem, err := readShort(ca, maxCAFile)
	r.Ca = &pem
	return r, err
}
