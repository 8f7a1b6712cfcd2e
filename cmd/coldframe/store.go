package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

func (a *app) storeCommand() *cobra.Command {
	group := &cobra.Command{Use: "store", Short: "Where the encrypted objects go"}
	set := &cobra.Command{Use: "set", Short: "Choose a folder or a bucket (asks for the password)"}
	set.AddCommand(a.setFolderCommand(), a.setS3Command())
	group.AddCommand(a.showStoreCommand(), set, a.checkStoreCommand(), a.clearCacheCommand())
	return group
}

func (a *app) showStoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Where objects go; never the credentials", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			s, err := c.Store(cmd.Context())
			if err != nil {
				return err
			}
			return a.answer(s, func() error { return a.printStore(s) })
		},
	}
}

// keptWhy is why a machine uses another store than the account's.
func keptWhy(code string) string {
	if code == string(fault.Conflict) {
		return "its datasets are in this one"
	}
	return "it cannot be opened here (" + printable(code) + ")"
}

func (a *app) printStore(s localapi.Store) error {
	if s.Kept != nil {
		defer fmt.Fprintf(a.out, "another device set another store for the account, which this machine does not use: %s\n", keptWhy(*s.Kept))
	}
	if s.Cache != nil {
		defer fmt.Fprintf(a.out, "cache %s\n", cacheUse(s.Cache))
	}
	switch {
	case s.Path != nil:
		fmt.Fprintf(a.out, "%s %s\n", s.Kind, printable(*s.Path))
	case s.S3 != nil:
		fmt.Fprintf(a.out, "%s bucket %s", s.Kind, printable(s.S3.Bucket))
		for _, part := range []struct {
			name  string
			value *string
		}{{"prefix", s.S3.Prefix}, {"region", s.S3.Region}, {"endpoint", s.S3.Endpoint}, {"ca file", s.S3.CaFile}} {
			if part.value != nil && *part.value != "" {
				fmt.Fprintf(a.out, ", %s %s", part.name, printable(*part.value))
			}
		}
		fmt.Fprintln(a.out)
	default:
		fmt.Fprintln(a.out, s.Kind)
	}
	return nil
}

// cacheUse says how full the cache of the bucket is.
func cacheUse(c *localapi.Cache) string { return size(c.UsedBytes) + " of " + size(c.LimitBytes) }

func (a *app) clearCacheCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clear-cache", Short: "Remove what is kept on this machine of what was fetched from the bucket", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			return c.ClearCache(cmd.Context())
		},
	}
}

func (a *app) setFolderCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "folder DIR", Short: "Keep objects in a folder", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			path, err := filepath.Abs(list[0])
			if err != nil {
				return err
			}
			return a.setStore(cmd, localapi.StoreRequest{Kind: localapi.StoreRequestKindFolder, Path: &path, Force: &force}, false)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "take a place that does not hold the present datasets")
	return cmd
}

func (a *app) setS3Command() *cobra.Command {
	var s3 localapi.S3
	var force, pathStyle bool
	var region, endpoint, prefix, ca string
	cmd := &cobra.Command{
		Use: "s3", Short: "Keep objects in a bucket; asks for the password, then for access key id and secret access key", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s3.Bucket == "" {
				return usageError{errors.New("--bucket is needed")}
			}
			s3.PathStyle = &pathStyle
			for flag, to := range map[*string]**string{&region: &s3.Region, &endpoint: &s3.Endpoint, &prefix: &s3.Prefix} {
				if *flag != "" {
					*to = flag
				}
			}
			if ca != "" {
				path, err := filepath.Abs(ca)
				if err != nil {
					return err
				}
				s3.CaFile = &path
			}
			return a.setStore(cmd, localapi.StoreRequest{Kind: localapi.StoreRequestKindS3, S3: &s3, Force: &force}, true)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s3.Bucket, "bucket", "", "name of the bucket")
	flags.StringVar(&prefix, "prefix", "", "put before every object name")
	flags.StringVar(&region, "region", "", "region of the bucket")
	flags.StringVar(&endpoint, "endpoint", "", "https address of the server; Amazon's for the region if absent")
	flags.BoolVar(&pathStyle, "path-style", false, "bucket in the path of the address, not in its host name")
	flags.StringVar(&ca, "ca-file", "", "certificates in PEM that vouch for the server")
	flags.BoolVar(&force, "force", false, "take a place that does not hold the present datasets")
	return cmd
}

// setStore asks for the password and, for a bucket, the credentials, then changes the store.
func (a *app) setStore(cmd *cobra.Command, r localapi.StoreRequest, credentials bool) error {
	c, password, err := a.agentAndPassword(cmd.Context())
	if err != nil {
		return err
	}
	r.Password = password
	if credentials {
		id, err := a.secrets.ask("Access key id")
		if err != nil {
			return err
		}
		secret, err := a.secrets.ask("Secret access key")
		if err != nil {
			return err
		}
		r.AccessKeyId, r.SecretAccessKey = &id, &secret
	}
	s, err := c.SetStore(cmd.Context(), r)
	if err != nil {
		return err
	}
	return a.answer(s, func() error { return a.printStore(s) })
}

func (a *app) checkStoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Try to write, read a range, upload in parts and delete", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent(cmd.Context())
			if err != nil {
				return err
			}
			r, err := c.CheckStore(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.answer(r, func() error { return a.printProbes(r.Probes) }); err != nil {
				return err
			}
			if !r.Ok {
				return fault.New(fault.Unavailable, "the store does not do all that is needed")
			}
			return nil
		},
	}
}

func (a *app) printProbes(probes []localapi.StoreProbe) error {
	var rows [][]string
	for _, p := range probes {
		result := "ok"
		if p.Error != nil {
			result = printable(*p.Error)
		}
		rows = append(rows, []string{p.Name, result})
	}
	return table(a.out, []string{"PROBE", "RESULT"}, rows)
}
