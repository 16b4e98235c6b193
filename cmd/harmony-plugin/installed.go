package main

import (
	"context"
	"slices"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) upgrade() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "upgrade",
		Long: `Upgrade installed plugins to the newest version of the index that they came from. The
indexes are fetched first. An older version than the installed one is never installed.`,
		Example:           "  harmony plugin upgrade spinnaker\n  harmony plugin upgrade --all",
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return protocol.Invalid("name the plugins to upgrade, or all of them with --all")
			}
			return c.runUpgrade(cmd.Context(), args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all installed plugins")
	c.downgradeFlag(cmd, "allow-downgrade")
	c.httpFlag(cmd)
	return cmd
}

func (c *cli) runUpgrade(ctx context.Context, names []string) error {
	s, err := c.store()
	if err != nil {
		return err
	}
	done := &results{cli: c}
	installed, err := c.installed(s, names)
	if err != nil {
		return err
	}
	if len(installed) == 0 {
		c.tell("no plugin is installed")
		return done.end(nil)
	}
	indexes := c.indexes()
	if err := indexes.Update(ctx, origins(installed)...); err != nil {
		return err
	}
	for _, i := range installed {
		if err := c.upgradeOne(ctx, s, indexes, i, done); err != nil {
			return done.end(err)
		}
	}
	return done.end(nil)
}

// installed are the plugins of these names, or all.
func (c *cli) installed(s store.Store, names []string) ([]store.Installed, error) {
	if len(names) == 0 {
		list, broken, err := s.All()
		for _, b := range broken {
			c.warn(b.Error())
		}
		return list, err
	}
	var list []store.Installed
	for _, name := range names {
		i, err := s.Installed(name)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// origins are the indexes that the plugins came from; none, which means all indexes,
// when one of them is unknown.
func origins(installed []store.Installed) []string {
	var names []string
	for _, i := range installed {
		if i.Index == "" {
			return nil
		}
		names = append(names, i.Index)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *cli) upgradeOne(ctx context.Context, s store.Store, indexes *index.Store, i store.Installed, done *results) error {
	name := i.Name
	if i.Index != "" {
		name = i.Index + "/" + name
	}
	found, err := indexes.Find(ctx, name, "")
	if err != nil {
		return err
	}
	have, err := semver.StrictNewVersion(i.Version)
	if err != nil {
		return err
	}
	if have.GreaterThan(semver.MustParse(found.Manifest.Version)) {
		c.tell("the installed %s %s is newer than %s in index %s", i.Name, i.Version, found.Manifest.Version, found.Index.Name)
		return done.add(store.Result{Name: i.Name, Version: i.Version, Outcome: store.OutcomeUnchanged, Path: i.Path}, nil)
	}
	return c.installFound(ctx, s, wanted{Found: found}, done)
}

// completeInstalled completes the names of installed plugins.
func (c *cli) completeInstalled(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := c.store()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _, _ := s.All()
	return completions(list, func(i store.Installed) string { return i.Name + "\t" + i.Version })
}

func (c *cli) uninstall() *cobra.Command {
	return &cobra.Command{
		Use:               "uninstall",
		Example:           "  harmony plugin uninstall spinnaker",
		Aliases:           []string{"remove"},
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := c.store()
			if err != nil {
				return err
			}
			done := &results{cli: c}
			for _, name := range names {
				if err := done.add(s.Uninstall(cmd.Context(), name)); err != nil {
					return done.end(err)
				}
			}
			return done.end(nil)
		},
	}
}

func (c *cli) rollback() *cobra.Command {
	return &cobra.Command{
		Use: "rollback",
		Long: `Go back to the version of a plugin before the last install or upgrade. It is still on
disk: nothing is downloaded.`,
		Example:           "  harmony plugin rollback spinnaker",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeInstalled,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.store()
			if err != nil {
				return err
			}
			result, err := s.Rollback(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			done := &results{cli: c}
			return done.end(done.add(result, nil))
		},
	}
}
