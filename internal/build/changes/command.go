package changes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	source "github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Commands are those of harmony-build besides the stage itself.
func Commands(streams command.Streams) []command.Option {
	t := tools{streams}
	return []command.Option{command.Subcommand(t.affected()), command.Subcommand(t.changelog())}
}

type tools struct{ streams command.Streams }

// register adds the flags that the commands share.
func (t tools) register(cmd *cobra.Command, from *source.Source) {
	cmd.Flags().StringVarP(&from.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	from.Getenv = t.streams.Getenv
	from.Warn = func(text string) { term.Warn(t.streams.Err, text) }
}

// with opens the project for some work.
func (t tools) with(cmd *cobra.Command, from source.Source, work func(*project) error) (err error) {
	cache, err := cachedir.Folder(t.streams.Getenv)
	if err != nil {
		return err
	}
	p, err := open(cmd.Context(), from, cache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return work(p)
}

func (t tools) affected() *cobra.Command {
	var from source.Source
	var since, output string
	cmd := &cobra.Command{
		Use:   "affected [APP...]",
		Short: "Show which apps changed since a commit",
		Long: `Show which apps have inputs that changed since a commit: the files that the image
is built from, the chart, the values, and the AppSpec. An app is not affected by a change
in another one that it only depends on.

The inputs are those of a build, so the answer is that of building everything twice;
nothing is built. What is compared is the work tree, with changes that are not committed.
Base images count by their names.

Without --since it is the commit at which a pull request left its target branch (on GitHub,
Gitea, Forgejo, GitLab and Woodpecker), or else the last release of each app.`,
		Example: `  harmony affected --since origin/main
  harmony build $(harmony affected)
  harmony affected -o matrix      # {"include":[{"app":"fleet"}]}, for a job's strategy.matrix`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if !slices.Contains([]string{"names", "json", "matrix"}, output) {
				return protocol.Invalid("--output %q is not one of names, json, matrix", output)
			}
			return t.with(cmd, from, func(p *project) error {
				names, err := selected(p.loaded, patterns)
				if err != nil {
					return err
				}
				found, err := p.affected(cmd.Context(), since, names)
				if err != nil {
					return err
				}
				return show(t.streams.Out, output, found)
			})
		},
	}
	t.register(cmd, &from)
	cmd.Flags().StringVar(&since, "since", "", "the `commit`, branch or tag to compare with; of a branch, the commit at which HEAD left it")
	cmd.Flags().StringVarP(&output, "output", "o", "names", "names, json (with the reasons), or matrix (for GitHub's fromJSON)")
	return cmd
}

func (t tools) changelog() *cobra.Command {
	var from source.Source
	var since, until, output string
	cmd := &cobra.Command{
		Use:   "changelog APP",
		Short: "List the commits that changed an app between two releases",
		Long: `List the commits that touched what an app is made from, between two of its releases: a
file that is read for one of them, or its AppSpec. Conventional commits are grouped into
breaking changes, features, fixes and others; a commit of no such form is among the others.

The later release is the one on the commit that is checked out; without one it is what has
been committed since the last release. The earlier one is the release before; before a final
version, the final one before.`,
		Example: `  harmony changelog fleet
  harmony changelog fleet --since 1.3.0 --until 1.4.0 -o json
  gh release create fleet-v1.4.0 --notes-file <(harmony changelog fleet)`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "md" && output != "json" {
				return protocol.Invalid("--output %q is not one of md, json", output)
			}
			return t.with(cmd, from, func(p *project) error {
				names, err := selected(p.loaded, args)
				if err != nil {
					return err
				}
				if len(names) != 1 {
					return protocol.Invalid("%q names %d apps: a changelog is of one", args[0], len(names))
				}
				log, err := p.span(cmd.Context(), names[0], since, until)
				if err == nil {
					err = p.fill(cmd.Context(), &log)
				}
				if err != nil {
					return err
				}
				if output == "json" {
					return term.WriteJSON(t.streams.Out, log)
				}
				return log.markdown(t.streams.Out)
			})
		},
	}
	t.register(cmd, &from)
	cmd.Flags().StringVar(&since, "since", "", "the earlier `version`")
	cmd.Flags().StringVar(&until, "until", "", "the later `version`")
	cmd.Flags().StringVarP(&output, "output", "o", "md", "md or json")
	return cmd
}

// selected are the names of the apps that match the patterns, or of all.
func selected(p *config.Project, patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	apps, err := p.Select(patterns)
	names := make([]string, len(apps))
	for i, app := range apps {
		names[i] = app.Name
	}
	return names, err
}

// matrix is the strategy.matrix of a job of GitHub Actions.
type matrix struct {
	Include []entry `json:"include"`
}

type entry struct {
	App string `json:"app"`
}

func show(out io.Writer, output string, found []Affected) error {
	switch output {
	case "json":
		return term.WriteJSON(out, found)
	case "matrix":
		m := matrix{Include: []entry{}}
		for _, a := range found {
			m.Include = append(m.Include, entry{a.App})
		}
		return json.NewEncoder(out).Encode(m) // one line, for GITHUB_OUTPUT
	}
	for _, a := range found {
		if _, err := fmt.Fprintln(out, a.App); err != nil {
			return err
		}
	}
	return nil
}
