package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/internal/fault"
)

// call asks the running coordinator.
func (f folder) call(ctx context.Context, method, path string, in any) (*http.Response, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://coordinator"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.socket())
		},
	}}
	res, err := client.Do(r)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "no coordinator runs with the folder %s", string(f))
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var p server.Problem
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&p); err != nil {
		return nil, fault.New(fault.Unavailable, "the coordinator answered with status %d", res.StatusCode)
	}
	detail := p.Title
	if p.Detail != nil {
		detail = *p.Detail
	}
	return nil, fault.New(fault.Code(p.Code), "%s", detail)
}

// ask is call with an answer in JSON.
func ask[T any](ctx context.Context, f folder, method, path string, in any) (v T, err error) {
	r, err := f.call(ctx, method, path, in)
	if err != nil {
		return v, err
	}
	defer r.Body.Close()
	return v, json.NewDecoder(r.Body).Decode(&v)
}

func newInvite(at func() folder) *cobra.Command {
	q := server.InviteRequest{Uses: 1, Valid: 7 * 24 * time.Hour}
	c := &cobra.Command{
		Use: "invite", Short: "Make an invitation and print it, this once", Args: exactly(0, "coldframe-coordinator invite"),
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := ask[server.Invited](c.Context(), at(), http.MethodPost, "/invite", q)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), i.Invitation)
			}
			return err
		},
	}
	c.Flags().IntVar(&q.Uses, "uses", q.Uses, "`number` of registrations that it is good for")
	c.Flags().DurationVar(&q.Valid, "valid", q.Valid, "how long it is good")
	return c
}

func newUsers(at func() folder) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "users", Short: "List users and what they use", Args: exactly(0, "coldframe-coordinator users"),
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			if !asJSON {
				fmt.Fprintln(w, "USER\tCREATED\tSTATE\tBLOBS\tBYTES\tMESSAGES")
			}
			err := eachUser(c.Context(), at(), func(u state.User) error {
				if asJSON {
					return json.NewEncoder(c.OutOrStdout()).Encode(u)
				}
				status := map[bool]string{true: "disabled", false: "active"}[u.Disabled]
				_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\n", u.ID, u.Created.UTC().Format(time.DateOnly), status, u.Used.Blobs, u.Used.Bytes, u.Used.Mail)
				return err
			})
			return errors.Join(err, w.Flush())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

func eachUser(ctx context.Context, f folder, fn func(state.User) error) error {
	for after := ""; ; {
		l, err := ask[server.UserList](ctx, f, http.MethodGet, "/users?after="+url.QueryEscape(after), nil)
		if err != nil || len(l.Users) == 0 {
			return err
		}
		for _, u := range l.Users {
			if err := fn(u); err != nil {
				return err
			}
		}
		after = string(l.Users[len(l.Users)-1].ID)
	}
}

func changeUser(c *cobra.Command, f folder, id string, q server.UserChange) error {
	_, err := ask[struct{}](c.Context(), f, http.MethodPost, "/users/"+url.PathEscape(id), q)
	return err
}

func newDisable(at func() folder, disabled bool) *cobra.Command {
	name, short := "enable", "Turn an account on again"
	if disabled {
		name, short = "disable", "Turn an account off; its sessions end at once"
	}
	return &cobra.Command{
		Use: name + " USER", Short: short, Args: exactly(1, "coldframe-coordinator "+name+" USER"),
		RunE: func(c *cobra.Command, args []string) error {
			return changeUser(c, at(), args[0], server.UserChange{Disabled: &disabled})
		},
	}
}

func newQuota(at func() folder) *cobra.Command {
	var q state.Quota
	c := &cobra.Command{
		Use: "quota USER", Short: "Give a user a quota of their own; what is left out follows the default", Args: exactly(1, "coldframe-coordinator quota USER"),
		RunE: func(c *cobra.Command, args []string) error {
			return changeUser(c, at(), args[0], server.UserChange{Quota: &q})
		},
	}
	quotaFlags(c.Flags().Int64Var, &q)
	return c
}

func newBackup(at func() folder) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the running coordinator", Args: exactly(1, "coldframe-coordinator backup FILE"),
		RunE: func(c *cobra.Command, args []string) error { return backup(c.Context(), at(), args[0]) },
	}
}

// backup writes a file that is there whole or not at all, and never over another.
func backup(ctx context.Context, f folder, file string) (err error) {
	if _, err := os.Lstat(file); err == nil {
		return fault.New(fault.Conflict, "%s is there already", file)
	}
	r, err := f.call(ctx, http.MethodGet, "/backup", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	out, err := os.CreateTemp(filepath.Dir(file), ".backup-*") // 0600
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the backup cannot be written")
	}
	defer func() { err = errors.Join(err, removeIfThere(out.Name())) }()
	defer out.Close()
	nothing := func(string, []byte) error { return nil }
	if err := store.ReadBackup(io.TeeReader(r.Body, out), nothing); err != nil { // reads to the end, and sees whether it is one
		return err
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the backup cannot be written")
	}
	if err := os.Link(out.Name(), file); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the backup cannot be put in its place")
	}
	return syncFolder(filepath.Dir(file))
}

func removeIfThere(file string) error {
	if err := os.Remove(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
