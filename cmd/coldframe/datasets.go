package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"coldframe/localapi"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List datasets", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.Datasets(cmd.Context(), "")
			if err != nil {
				return err
			}
			return a.answer(list, func() error {
				var rows [][]string
				for _, d := range list {
					if d.State == localapi.DatasetStateElsewhere { // nothing is known of it here
						rows = append(rows, []string{"(on another machine)", "", "", "", "", "", d.Id[:min(12, len(d.Id))]})
						continue
					}
					rows = append(rows, []string{
						printable(d.Title), fmt.Sprint(d.Version), fmt.Sprint(d.Rows), fmt.Sprint(len(d.Columns)), size(d.Bytes), when(d.Updated), d.Id[:min(12, len(d.Id))],
					})
				}
				return table(a.out, []string{"TITLE", "VERSION", "ROWS", "COLUMNS", "STORED", "UPDATED", "ID"}, rows)
			})
		},
	}
}

// onDataset makes a command that works on the one dataset its argument names.
func (a *app) onDataset(use, short string, extra int, do func(ctx context.Context, c *localapi.Client, d localapi.Dataset, rest []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args(cobra.ExactArgs(1 + extra)),
		RunE: func(cmd *cobra.Command, list []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			d, err := find(cmd.Context(), c, list[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), c, d, list[1:])
		},
	}
}

func (a *app) showCommand() *cobra.Command {
	return a.onDataset("show NAME", "One dataset: columns, types, members", 0,
		func(_ context.Context, _ *localapi.Client, d localapi.Dataset, _ []string) error {
			return a.answer(d, func() error { return a.printDataset(d) })
		})
}

func (a *app) printDataset(d localapi.Dataset) error {
	fmt.Fprintf(a.out, "title     %s\nid        %s\nversion   %d\nrows      %d\nstored    %s\ncreated   %s\nupdated   %s\n",
		printable(d.Title), d.Id, d.Version, d.Rows, size(d.Bytes), when(d.Created), when(d.Updated))
	for _, m := range d.Members {
		fmt.Fprintf(a.out, "%-10s%s\n", m.Role, m.UserId)
	}
	if len(d.Columns) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	var rows [][]string
	for _, c := range d.Columns {
		rows = append(rows, []string{printable(c.Name), printable(c.Type)})
	}
	return table(a.out, []string{"COLUMN", "TYPE"}, rows)
}

func (a *app) versionsCommand() *cobra.Command {
	return a.onDataset("versions NAME", "Versions of a dataset", 0,
		func(ctx context.Context, c *localapi.Client, d localapi.Dataset, _ []string) error {
			list, err := c.Versions(ctx, d.Id)
			if err != nil {
				return err
			}
			return a.answer(list, func() error {
				var rows [][]string
				for _, v := range list {
					rows = append(rows, []string{
						fmt.Sprint(v.Version), fmt.Sprint(v.Rows), fmt.Sprint(v.Parts), size(v.Bytes), when(v.Created), v.Hash[:min(16, len(v.Hash))],
					})
				}
				return table(a.out, []string{"VERSION", "ROWS", "PARTS", "STORED", "CREATED", "MANIFEST"}, rows)
			})
		})
}

func (a *app) renameCommand() *cobra.Command {
	return a.onDataset("rename NAME TITLE", "Change the title of a dataset", 1,
		func(ctx context.Context, c *localapi.Client, d localapi.Dataset, rest []string) error {
			d, err := c.RenameDataset(ctx, d.Id, rest[0], "")
			if err != nil {
				return err
			}
			return a.answer(d, func() error { a.say("%s", printable(d.Title)); return nil })
		})
}

func (a *app) removeCommand() *cobra.Command {
	return a.onDataset("rm NAME", "Delete a dataset: its keys go at once, its objects in 7 days", 0,
		func(ctx context.Context, c *localapi.Client, d localapi.Dataset, _ []string) error {
			if err := c.DeleteDataset(ctx, d.Id); err != nil {
				return err
			}
			a.say("deleted %s", printable(d.Title))
			return nil
		})
}
