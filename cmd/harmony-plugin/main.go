// Command harmony-plugin searches, installs and manages plugins: it implements
// harmony plugin search, install, sync and so on. Only doctor runs plugins.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/plugins/tool"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errFindings ends doctor, which has printed its findings.
var errFindings = errors.New("there are findings")

// run runs the command and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: stdout, stderr: stderr}
	return tool.Run(ctx, c.command(), args, stdout, stderr, errFindings)
}

// cli is the command line.
type cli struct {
	stdout, stderr io.Writer
	// output is text or json.
	output string
	// index is the one index to search; all when empty.
	index string
	// allowDowngrade permits an older version of a plugin, allowIndexDowngrade older
	// versions of all plugins of an index.
	allowDowngrade, allowIndexDowngrade bool
	// replaceSuite permits plugins with the names of harmony's own.
	replaceSuite bool
	allowHTTP    bool
	quiet        bool
	// file is the project's harmony.yaml, next to the lock file.
	file string
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "harmony-plugin",
		Short: "Search, install and manage plugins",
		Long: `Search, install and manage plugins. This program implements harmony plugin search,
install, sync and so on.

Each installed plugin has its own folder; one link on PATH leads to it. A crash at any
moment leaves the old version or the new one. Installing a plugin runs none of its code.`,
		Example: `  harmony plugin search
  harmony plugin install spinnaker
  harmony plugin lock && harmony plugin sync`,
		// Help shows the commands as users type them.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "harmony plugin"},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.output != "text" && c.output != "json" {
				return protocol.Invalid("--output %q is not one of text, json", c.output)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&c.output, "output", "o", "text", "text or json")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "show results and failures only")
	root.AddCommand(c.search(), c.info(), c.indexCommand(), c.install(), c.upgrade(), c.uninstall(), c.rollback(), c.lock(), c.sync(), c.doctor(), c.newPlugin())
	for _, listed := range suite.PluginCommands() { // the same texts as in harmony
		if cmd, _, err := root.Find(strings.Fields(listed.Use)[:1]); err == nil {
			cmd.Use, cmd.Short = listed.Use, listed.Short
		}
	}
	return root
}

// indexes are those that the user has configured.
func (c *cli) indexes() *index.Store {
	s := index.Open(os.Getenv)
	s.Only, s.AllowDowngrade, s.Warn = c.index, c.allowIndexDowngrade, c.warn
	return s
}

// store is the user's installed plugins.
func (c *cli) store() (store.Store, error) {
	folder, err := artifact.Store(os.Getenv)
	return c.storeIn(folder), err
}

// projectStore is the plugins that are installed only for the project of a lock file.
func (c *cli) projectStore(lockFile string) (store.Store, error) {
	folder, err := artifact.ProjectStore(os.Getenv, filepath.Dir(lockFile))
	return c.storeIn(folder), err
}

func (c *cli) storeIn(folder string) store.Store {
	return store.Store{Folder: folder, Warn: c.warn, Fetcher: store.Fetcher{AllowHTTP: c.allowHTTP}}
}

func (c *cli) warn(text string) { term.Warn(c.stderr, text) }

// indexFlag adds the flag that chooses an index.
func (c *cli) indexFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.index, "index", "", "the `index` to search, by name or URL (default all configured indexes)")
}

func (c *cli) writeJSON(v any) error { return term.WriteJSON(c.stdout, v) }

// results are printed one by one as text, or all at the end as json.
type results struct {
	cli  *cli
	list []store.Result
}

// add reports the result of a change, unless that failed.
func (r *results) add(result store.Result, failed error) error {
	if failed != nil {
		return failed
	}
	r.list = append(r.list, result)
	if r.cli.output == "json" {
		return nil
	}
	_, err := fmt.Fprintln(r.cli.stdout, describe(result))
	return err
}

// end writes json at the end, also after a failure: earlier changes were made.
func (r *results) end(failed error) error {
	if r.cli.output != "json" {
		return failed
	}
	return errors.Join(failed, r.cli.writeJSON(append([]store.Result{}, r.list...)))
}

// describe is a result in words.
func describe(r store.Result) string {
	switch r.Outcome {
	case store.OutcomeUnchanged:
		return fmt.Sprintf("%s %s is already installed", r.Name, r.Version)
	case store.OutcomeUninstalled:
		return strings.TrimSpace("uninstalled " + r.Name + " " + r.Previous)
	case store.OutcomeRolledBack:
		return fmt.Sprintf("rolled %s back from %s to %s", r.Name, r.Previous, r.Version)
	case store.OutcomeUpgraded, store.OutcomeDowngraded:
		return fmt.Sprintf("%s %s from %s to %s", r.Outcome, r.Name, r.Previous, r.Version)
	}
	return fmt.Sprintf("%s %s %s", r.Outcome, r.Name, r.Version)
}

// tell writes a line for people, in addition to the results.
func (c *cli) tell(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintln(c.stderr, term.Clean(fmt.Sprintf(format, args...)))
	}
}
