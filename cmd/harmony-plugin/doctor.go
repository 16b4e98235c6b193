package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/doctor"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
)

func (c *cli) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor",
		Long: `Find problems: entries of PATH that others can write or that mean the current folder,
shadowed, refused or broken plugins, plugins that speak another protocol, and those that
differ from the project's harmony-plugins.lock. The exit status is 1 if there are any.

The installed and the pinned plugins are run with describe; nothing else is run.`,
		Example: "  harmony plugin doctor\n  harmony plugin doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := c.newDoctor()
			if err != nil {
				return err
			}
			findings, err := d.Examine(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.showFindings(findings); err != nil {
				return err
			}
			if len(findings) > 0 {
				return errFindings
			}
			return nil
		},
	}
	c.projectFlag(cmd)
	return cmd
}

func (c *cli) newDoctor() (doctor.Doctor, error) {
	s, err := c.store()
	if err != nil {
		return doctor.Doctor{}, err
	}
	d := doctor.Doctor{Finder: pathFinder(), Store: s, Suite: suite.Folder()}
	d.Describer.Cache = cachedir.In("describe")
	file, err := c.lockFile()
	if errors.Is(err, config.ErrNoFile) && c.file == "" {
		return d, nil // not in a project
	}
	if err != nil {
		return d, err
	}
	check, found, err := lock.Of(filepath.Dir(file))
	if found {
		d.Check, d.Finder = check, check.Finder(d.Finder)
	}
	return d, err
}

func (c *cli) showFindings(findings []doctor.Finding) error {
	if c.output == "json" {
		return c.writeJSON(append([]doctor.Finding{}, findings...))
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no problems found")
		return err
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(c.stdout, "%s: %s\n", term.Clean(f.Subject), term.Clean(f.Problem)); err != nil {
			return err
		}
		if f.Advice != "" {
			if _, err := fmt.Fprintf(c.stdout, "  to fix it: %s\n", term.Clean(f.Advice)); err != nil {
				return err
			}
		}
	}
	return nil
}
