package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"coldframe/localapi"
)

func (a *app) appsCommand() *cobra.Command {
	group := &cobra.Command{Use: "apps", Short: "Tokens for applications"}
	group.AddCommand(a.listAppsCommand(), a.addAppCommand(), a.removeAppCommand())
	return group
}

func (a *app) listAppsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List tokens", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			apps, err := c.Apps(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(apps, func() error {
				var rows [][]string
				for _, p := range apps {
					datasets := "all"
					if p.Datasets != nil {
						datasets = strings.Join(*p.Datasets, ",")
					}
					columns := "all"
					if p.Columns != nil {
						columns = printable(strings.Join(*p.Columns, ","))
					}
					rows = append(rows, []string{p.Id, printable(p.Name), scopes(p.Scopes), datasets, columns, when(p.Created)})
				}
				return table(a.out, []string{"ID", "NAME", "SCOPES", "DATASETS", "COLUMNS", "CREATED"}, rows)
			})
		},
	}
}

func scopes(list []localapi.Scope) string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, ",")
}

func (a *app) addAppCommand() *cobra.Command {
	var wanted, datasets, columns []string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make a token and print it once; admin and kms ask for the password", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			r := localapi.AppRequest{Name: list[0]}
			for _, s := range wanted {
				r.Scopes = append(r.Scopes, localapi.Scope(s))
			}
			for _, name := range datasets {
				d, err := find(cmd.Context(), c, name)
				if err != nil {
					return err
				}
				ids := append(deref(r.Datasets), d.Id)
				r.Datasets = &ids
			}
			if len(columns) > 0 {
				r.Columns = &columns
			}
			if slices.Contains(wanted, "admin") || slices.Contains(wanted, "kms") {
				password, err := a.secrets.ask("Password")
				if err != nil {
					return err
				}
				r.Password = &password
			}
			made, err := c.CreateApp(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.answer(made, func() error { _, err := fmt.Fprintln(a.out, made.Token); return err })
		},
	}
	cmd.Flags().StringSliceVar(&wanted, "scope", []string{"read"}, "read, write, share, admin, kms")
	cmd.Flags().StringSliceVar(&datasets, "dataset", nil, "only these datasets (title or id); all if absent")
	cmd.Flags().StringSliceVar(&columns, "column", nil, "only the keys of these columns; with --dataset and --scope kms; all if absent")
	return cmd
}

func deref[T any](p *[]T) []T {
	if p == nil {
		return nil
	}
	return *p
}

func (a *app) removeAppCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Revoke a token", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			return c.DeleteApp(cmd.Context(), list[0])
		},
	}
}
