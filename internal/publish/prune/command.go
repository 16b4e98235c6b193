package prune

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/protocol"
)

type flags struct {
	source    project.Source
	keep      int
	olderThan string
	contexts  []string
	kube      conn.Flags
	yes, all  bool
	output    string
}

// Command is harmony publish prune.
func Command() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use: "prune [APP...]", Short: "Remove old development versions that nothing uses",
		Long: `Look through the repositories of apps for images and charts of development versions,
and for images that no version has. What no Helm release, Argo CD Application, Flux
object or pod of the clusters names is listed, and with --yes removed. Releases and
tags of others are never touched.

The clusters are those of the topology's targets, or those of --context. If one of
them cannot be asked nothing is removed. What no tag names, for a day at least, is found
in Harbor; other registries cannot list it and have a garbage collection of their own.`,
		Example: `  harmony publish prune --all --keep 5 --older-than 30d
  harmony publish prune fleet-operator --keep 3 --context staging --context production --yes`,
		RunE: f.run,
	}
	own := cmd.Flags()
	own.StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	own.StringVar(&f.source.Topology, "topology", "", "the topology by `name`, which says where the registries are")
	own.IntVar(&f.keep, "keep", 5, "how many of the newest development versions stay in each repository")
	own.StringVar(&f.olderThan, "older-than", "", "spare what is younger, such as 30d or 12h, or of unknown age")
	own.StringSliceVar(&f.contexts, "context", nil, "the kube `contexts` to ask what is used (default those of the topology's targets)")
	own.StringVar(&f.kube.Kubeconfig, "kubeconfig", "", "path of the kubeconfig file")
	own.BoolVar(&f.all, "all", false, "all apps of harmony.yaml")
	own.BoolVar(&f.yes, "yes", false, "remove; without it nothing is changed")
	own.StringVarP(&f.output, "output", "o", "text", "text or json")
	f.source.Getenv = os.Getenv
	return cmd
}

func (f *flags) run(cmd *cobra.Command, apps []string) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	if f.all {
		apps = []string{"*"}
	}
	project, err := f.source.Find(cmd.Context(), project.Wanted{Patterns: apps})
	if err != nil {
		return err
	}
	selected, err := project.Select(apps)
	if err != nil {
		return err
	}
	topology, err := project.Topology(f.source.Topology, os.Getenv)
	if err != nil {
		return err
	}
	repositories, err := repositoriesOf(topology, selected)
	if err != nil {
		return err
	}
	used, err := f.used(cmd.Context(), topology, selected)
	if err != nil {
		return err
	}
	registry := &Registry{Insecure: topology.OCIRegistry.Insecure}
	entries, err := Plan(cmd.Context(), registry, used, repositories, options)
	if err != nil {
		return err
	}
	if err := f.show(cmd.OutOrStdout(), entries); err != nil {
		return err
	}
	return f.remove(cmd, registry, entries)
}

func (f *flags) options() (Options, error) {
	if f.output != "text" && f.output != "json" {
		return Options{}, protocol.Invalid("--output %q is not one of text, json", f.output)
	}
	if f.keep < 0 {
		return Options{}, protocol.Invalid("--keep %d is negative", f.keep)
	}
	age, err := parseAge(f.olderThan)
	if err != nil {
		return Options{}, err
	}
	return Options{Keep: f.keep, OlderThan: age, Now: time.Now()}, nil
}

// parseAge reads a duration, for which days are allowed as well.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age > 0 {
		return age, nil
	}
	return 0, protocol.Invalid("--older-than %q is not an age such as 30d or 12h", text)
}

func repositoriesOf(topology protocol.Topology, apps []protocol.AppSpec) ([]Repository, error) {
	images, charts := topology.OCIRegistry, topology.HelmRegistry
	if images == nil || images.Adapter != "oci" || images.URL == "" {
		return nil, protocol.Unsupported("topology %q has no registry to look through", topology.Name).
			WithHint("set spec.ociRegistry with the adapter oci and its url, or HARMONY_REGISTRY")
	}
	var list []Repository
	for _, app := range apps {
		for _, one := range app.ForEachImage() {
			if !one.Image.Stays() && !one.Image.IsNone() {
				list = append(list, Repository{strings.Trim(images.URL, "/") + "/" + one.Repository(), app.ProjectRoot})
			}
		}
		if charts != nil && charts.Adapter == "oci" && charts.URL != "" && app.Chart.URL == "" { // whose versions are not ours
			name, err := chartName(app)
			if err != nil {
				return nil, err
			}
			list = append(list, Repository{strings.Trim(charts.URL, "/") + "/" + name, app.ProjectRoot})
		}
	}
	return list, nil
}

// chartName is what a chart is published as: its own name, or the app's where it
// has no folder.
func chartName(app protocol.AppSpec) (string, error) {
	if app.Chart.Path == "" {
		return app.Name, nil
	}
	file := filepath.Join(app.ProjectRoot, app.Chart.Path, "Chart.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		return "", protocol.Invalid("%w", err)
	}
	var chart struct {
		Name string `json:"name"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		return "", protocol.Invalid("%s: %w", file, err)
	}
	return cmp.Or(chart.Name, app.Name), nil
}

// used is what the clusters and devices of the topology's targets use, or the
// clusters of --context.
func (f *flags) used(ctx context.Context, topology protocol.Topology, apps []protocol.AppSpec) (*Uses, error) {
	used := NewUses()
	asked := topology
	asked.Targets = f.targets(topology)
	for _, target := range slices.Sorted(maps.Keys(asked.Targets)) {
		clusters, err := conn.Clusters(ctx, &f.kube, asked, target)
		if err != nil {
			return nil, err
		}
		for _, c := range clusters {
			flags, err := c.Flags()
			if err != nil {
				return nil, err
			}
			conn, err := conn.Connect(flags, c.Topology(asked, target), target)
			if err != nil {
				return nil, err
			}
			if err := used.Collect(ctx, conn); err != nil {
				return nil, err
			}
		}
	}
	return used, used.CollectDevices(ctx, topology, apps)
}

// targets are those whose clusters are asked, each context once: the contexts that
// were named, else all that the topology deploys to, or the current one.
func (f *flags) targets(topology protocol.Topology) map[string]protocol.Target {
	targets := map[string]protocol.Target{}
	contexts := slices.Clone(f.contexts)
	if len(contexts) == 0 && len(topology.Targets) == 0 {
		contexts = []string{""}
	}
	if len(f.contexts) == 0 {
		for name, target := range topology.Targets {
			switch {
			case target.InCluster != nil:
				contexts = append(contexts, target.InCluster.Context)
			case target.MultiCluster != nil:
				targets[name] = target
			}
		}
	}
	for _, context := range contexts {
		targets["context "+context] = protocol.Target{InCluster: &protocol.InCluster{Context: context, Namespace: "default"}}
	}
	return targets
}

func (f *flags) show(out io.Writer, entries []Entry) error {
	if f.output == "json" {
		return term.WriteJSON(out, entries)
	}
	rows := [][]string{{"REPOSITORY", "TAG", "DIGEST", "AGE", "ACTION", "REASON"}}
	for _, e := range entries {
		action, age := "keep", "?"
		if e.Remove {
			action = "remove"
		}
		if e.Created != nil {
			age = fmt.Sprintf("%dd", int(time.Since(*e.Created).Hours()/24))
		}
		rows = append(rows, []string{e.Repository, cmp.Or(e.Tag, "-"), e.Digest[:19], age, action, e.Reason})
	}
	return term.Table(out, rows)
}

func (f *flags) remove(cmd *cobra.Command, registry *Registry, entries []Entry) error {
	count := 0
	for _, e := range entries {
		if e.Remove {
			count++
		}
	}
	switch {
	case count == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "nothing to remove")
		return nil
	case !f.yes:
		fmt.Fprintf(cmd.ErrOrStderr(), "%d would be removed; --yes removes them\n", count)
		return nil
	}
	planned := slices.Clone(entries)
	removed, err := Remove(cmd.Context(), registry, entries)
	for i, e := range entries {
		if planned[i].Remove && !e.Remove {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s stays: %s\n", e.name(), e.Reason)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d removed\n", removed, count)
	return err
}
