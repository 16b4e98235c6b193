package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (c *cli) install() *cobra.Command {
	var intoLock bool
	cmd := &cobra.Command{
		Use: "install",
		Long: `Install plugins from an index: the newest version, or the given one. Name a plugin that
several indexes offer as INDEX/NAME.

The artifact must have the size and the SHA-256 that the index lists; it is not run. To
install an older version than the installed one, give its exact version and
--allow-downgrade.`,
		Example: `  harmony plugin install spinnaker
  harmony plugin install spinnaker@1.4.0 --lock
  harmony plugin install ours/spinnaker@1.3.0 --allow-downgrade`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeOffered,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.runInstall(cmd.Context(), args, intoLock)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.allowDowngrade, "allow-downgrade", false, "permit an older version than the installed one, for a plugin with an exact version")
	c.downgradeFlag(cmd, "allow-index-downgrade")
	c.replaceFlag(cmd)
	flags.BoolVar(&intoLock, "lock", false, "also pin the plugin in the project's harmony-plugins.lock")
	c.projectFlag(cmd)
	c.httpFlag(cmd)
	c.indexFlag(cmd)
	return cmd
}

func (c *cli) httpFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.allowHTTP, "allow-http", false, "permit artifacts by http:// from this machine")
}

func (c *cli) replaceFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.replaceSuite, "replace-suite", false, "permit a plugin to replace one of harmony's own, such as harmony-deploy")
}

func (c *cli) runInstall(ctx context.Context, args []string, intoLock bool) error {
	s, err := c.store()
	if err != nil {
		return err
	}
	wanted, err := c.find(ctx, args)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if err := s.CheckReplace(w.Manifest.Name, c.replaceSuite); err != nil {
			return err
		}
	}
	done := &results{cli: c}
	for _, w := range wanted {
		if err := c.installFound(ctx, s, w, done); err != nil {
			return done.end(err)
		}
	}
	if intoLock {
		_, err = c.pin(ctx, s, wanted, nil)
	}
	return done.end(err)
}

func noVersion(arg string) error { return protocol.Invalid("%q has no version after the @", arg) }

// wanted is a plugin to install.
type wanted struct {
	index.Found
	// exact is true when the version was given.
	exact bool
}

// find finds all plugins before anything is installed.
func (c *cli) find(ctx context.Context, args []string) ([]wanted, error) {
	indexes := c.indexes()
	var list []wanted
	for _, arg := range args {
		name, version, exact := strings.Cut(arg, "@")
		_, bare, qualified := strings.Cut(name, "/")
		if !qualified {
			bare = name
		}
		if err := store.CheckName(bare); err != nil {
			return nil, err
		}
		if exact && version == "" {
			return nil, noVersion(arg)
		}
		if exact && c.allowDowngrade {
			indexes.Downgrade = append(indexes.Downgrade, bare)
		}
		if slices.ContainsFunc(list, func(w wanted) bool { return w.Manifest.Name == bare }) {
			return nil, protocol.Invalid("plugin %s is given twice", bare)
		}
		found, err := indexes.Find(ctx, name, version)
		if err != nil {
			return nil, err
		}
		list = append(list, wanted{found, exact})
	}
	return list, nil
}

// installFound installs one plugin, and prints its caveats and whether it is on PATH.
func (c *cli) installFound(ctx context.Context, s store.Store, w wanted, done *results) error {
	artifact, err := artifactOf(w.Found, runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	s.Fetcher.Progress = c.progress(artifact)
	result, err := s.Install(ctx, artifact, store.InstallOptions{AllowDowngrade: c.allowDowngrade && w.exact, ReplaceSuite: c.replaceSuite})
	if err := done.add(result, err); err != nil || result.Outcome == store.OutcomeUnchanged {
		return err
	}
	if w.Manifest.Caveats != "" {
		c.tell("%s: %s", w.Manifest.Name, w.Manifest.Caveats)
	}
	c.tellPath(s, w.Manifest.Name)
	return nil
}

// artifactOf is a plugin's artifact for a platform.
func artifactOf(f index.Found, system, processor string) (store.Artifact, error) {
	m := f.Manifest
	platform, err := m.Platform(system, processor)
	if err != nil {
		return store.Artifact{}, err
	}
	others := map[string]string{}
	for _, p := range m.Platforms {
		if p != platform {
			others[p.SHA256] = p.OS + "/" + p.Arch
		}
	}
	return store.Artifact{
		Name: m.Name, Version: m.Version, Index: f.Index.Name, Outside: f.Outside(), Protocol: m.Protocol, Others: others,
		Artifact: platform.Artifact,
	}, nil
}

// progress shows a download on a terminal, ten times a second.
func (c *cli) progress(a store.Artifact) func(current, total int64) {
	if c.quiet || !term.IsTerminal(c.stderr) {
		return nil
	}
	var shown time.Time
	return func(current, total int64) {
		switch {
		case current >= total:
			fmt.Fprint(c.stderr, "\r\x1b[K")
		case time.Since(shown) > time.Second/10:
			shown = time.Now()
			fmt.Fprintf(c.stderr, "\r%s %s  %s of %s\x1b[K", a.Name, a.Version, term.Bytes(current), term.Bytes(total))
		}
	}
}

// tellPath warns when another program runs for the plugin's name.
func (c *cli) tellPath(s store.Store, name string) {
	if !slices.Contains(filepath.SplitList(os.Getenv("PATH")), s.Bin()) {
		c.tell("%s is not on PATH: add  export PATH=\"%s:$PATH\"  to your shell's profile", s.Bin(), s.Bin())
		return
	}
	found, err := pathFinder().Find(name)
	switch {
	case err != nil:
		c.warn(err.Error())
	case filepath.Dir(found.Path) != s.Bin():
		c.warn("harmony " + name + " runs " + found.Path + ", which comes first on PATH")
	}
}

// completeOffered completes the names of plugins in the fetched copies of the indexes.
func (c *cli) completeOffered(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	indexes := c.indexes()
	indexes.Warn, indexes.Offline = nil, true
	found, _ := indexes.Search(cmd.Context(), "")
	return completions(found, func(f index.Found) string { return f.Manifest.Name + "\t" + f.Manifest.ShortDescription })
}
