// Command harmony-plugin finds, installs and manages plugins: it carries out
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
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errFindings is the exit status of doctor, which has told them already.
var errFindings = errors.New("there are findings")

// run is the command with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: stdout, stderr: stderr}
	root := c.command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return protocol.ExitOK
	case errors.Is(err, errFindings):
		return protocol.ExitFailed
	}
	term.Tell(stderr, err)
	if !c.started {
		return protocol.ExitInvalid
	}
	return protocol.ExitCode(err)
}

// cli is the command line.
type cli struct {
	stdout, stderr io.Writer
	// output is text or json.
	output string
	// index is the one index to look in; all when empty.
	index string
	// allowDowngrade permits an older version of a plugin, and of an index all that
	// it offers.
	allowDowngrade, allowIndexDowngrade bool
	// replaceSuite permits plugins of the names of harmony's own.
	replaceSuite bool
	allowHTTP    bool
	quiet        bool
	// file is the project's harmony.yaml, beside which the lock file lies.
	file string
	// started is true once the command line was found right.
	started bool
}

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "harmony-plugin",
		Short: "Search, install and manage plugins",
		Long: `Search, install and manage plugins: harmony plugin search, install, sync and so
on are carried out here.

An installed plugin lies in a folder of its own; one link on PATH leads to it. A crash at
any moment leaves the version before or the new one. Nothing of a plugin is run while it
is installed.`,
		Example: `  harmony plugin search
  harmony plugin install spinnaker
  harmony plugin lock && harmony plugin sync`,
		Version:       suite.Version(),
		SilenceErrors: true, SilenceUsage: true,
		// What the commands are called is what a person types.
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "harmony plugin"},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.output != "text" && c.output != "json" {
				return protocol.Invalid("--output %q is not one of text, json", c.output)
			}
			c.started = true
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&c.output, "output", "o", "text", "text or json")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "show results and failures only")
	root.AddCommand(c.search(), c.info(), c.indexCommand(), c.install(), c.upgrade(), c.uninstall(), c.rollback(), c.lock(), c.sync(), c.doctor(), c.newPlugin(), c.version())
	for _, listed := range suite.PluginCommands() { // as harmony shows them
		if cmd, _, err := root.Find(strings.Fields(listed.Use)[:1]); err == nil {
			cmd.Use, cmd.Short = listed.Use, listed.Short
		}
	}
	return root
}

func (c *cli) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, suite.Version())
			return err
		},
	}
}

// indexes are those that the user has configured.
func (c *cli) indexes() (*index.Store, error) {
	dirs, err := index.DefaultDirs()
	if err != nil {
		return nil, err
	}
	s := index.Open(dirs)
	s.Only, s.AllowDowngrade, s.Warn = c.index, c.allowIndexDowngrade, c.warn
	return s, nil
}

// store is the user's installed plugins.
func (c *cli) store() (store.Store, error) {
	folder, err := artifact.Store(os.Getenv)
	return c.storeIn(folder), err
}

// projectStore is the plugins that are installed for the project of a lock file
// alone.
func (c *cli) projectStore(lockFile string) (store.Store, error) {
	folder, err := artifact.ProjectStore(os.Getenv, filepath.Dir(lockFile))
	return c.storeIn(folder), err
}

func (c *cli) storeIn(folder string) store.Store {
	return store.Store{Folder: folder, Warn: c.warn, Fetcher: store.Fetcher{AllowHTTP: c.allowHTTP}}
}

// warn reports on stderr what is not an error.
func (c *cli) warn(text string) {
	fmt.Fprintf(c.stderr, "warning: %s\n", term.Clean(text))
}

// indexFlag adds the flag that chooses an index.
func (c *cli) indexFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.index, "index", "", "the `index` to look in, by name or URL (default all that are configured)")
}

// writeJSON prints a result as json.
func (c *cli) writeJSON(v any) error { return term.WriteJSON(c.stdout, v) }

// results are told one by one as text, or all at the end as json.
type results struct {
	cli  *cli
	list []store.Result
}

// add tells a result.
func (r *results) add(result store.Result) error {
	r.list = append(r.list, result)
	if r.cli.output == "json" {
		return nil
	}
	_, err := fmt.Fprintln(r.cli.stdout, describe(result))
	return err
}

// end writes what is written at the end, also after a failure: what was done is
// done.
func (r *results) end(failed error) error {
	if r.cli.output != "json" {
		return failed
	}
	if r.list == nil {
		r.list = []store.Result{}
	}
	return errors.Join(failed, r.cli.writeJSON(r.list))
}

// describe says a result in words.
func describe(r store.Result) string {
	switch r.Outcome {
	case store.OutcomeUnchanged:
		return fmt.Sprintf("%s %s is installed already", r.Name, r.Version)
	case store.OutcomeUninstalled:
		return strings.TrimSpace("uninstalled " + r.Name + " " + r.Previous)
	case store.OutcomeRolledBack:
		return fmt.Sprintf("rolled %s back from %s to %s", r.Name, r.Previous, r.Version)
	case store.OutcomeUpgraded, store.OutcomeDowngraded:
		return fmt.Sprintf("%s %s from %s to %s", r.Outcome, r.Name, r.Previous, r.Version)
	}
	return fmt.Sprintf("%s %s %s", r.Outcome, r.Name, r.Version)
}

// tell writes a line for people, of what is said besides the result.
func (c *cli) tell(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintln(c.stderr, term.Clean(fmt.Sprintf(format, args...)))
	}
}
