package prune

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/protocol"
)

// flags are those of the command.
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
	used := NewUses()
	clusters, err := f.clusters(cmd.Context(), topology)
	if err != nil {
		return err
	}
	for _, conn := range clusters {
		if err := used.Collect(cmd.Context(), conn); err != nil {
			return err
		}
	}
	if err := used.CollectDevices(cmd.Context(), topology, selected); err != nil {
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
		return Options{}, protocol.Invalid("--keep %d is less than none", f.keep)
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
		var n int
		if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err == nil && n > 0 && n < 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age > 0 {
		return age, nil
	}
	return 0, protocol.Invalid("--older-than %q is not an age such as 30d or 12h", text)
}

// repositoriesOf are those of the apps' images and charts.
func repositoriesOf(topology protocol.Topology, apps []protocol.AppSpec) ([]Repository, error) {
	images, charts := topology.OCIRegistry, topology.HelmRegistry
	if images == nil || images.Adapter != "oci" || images.URL == "" {
		return nil, protocol.Unsupported("topology %q has no registry to look through", topology.Name).
			WithHint("set spec.ociRegistry with the adapter oci and its url, or HARMONY_REGISTRY")
	}
	var list []Repository
	for _, app := range apps {
		list = append(list, Repository{strings.Trim(images.URL, "/") + "/" + cmp.Or(app.Image.Repository, app.Name), app.ProjectRoot})
		if charts != nil && charts.Adapter == "oci" && charts.URL != "" {
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

// clusters are those to ask: those that were named, else all that the topology
// deploys to, or the current one.
func (f *flags) clusters(ctx context.Context, topology protocol.Topology) ([]*conn.Conn, error) {
	contexts := map[string]bool{}
	for _, name := range f.contexts {
		contexts[name] = true
	}
	var conns []*conn.Conn
	if len(contexts) == 0 {
		for _, name := range slices.Sorted(maps.Keys(topology.Targets)) {
			if in := topology.Targets[name].InCluster; in != nil {
				contexts[in.Context] = true
			}
			several, err := f.several(ctx, topology, name)
			if err != nil {
				return nil, err
			}
			conns = append(conns, several...)
		}
	}
	if len(contexts) == 0 && len(conns) == 0 && !hasDevices(topology) {
		contexts[""] = true
	}
	for _, name := range slices.Sorted(maps.Keys(contexts)) {
		conn, err := f.connect(name)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// several are the clusters of a multiCluster target; none of another one.
func (f *flags) several(ctx context.Context, topology protocol.Topology, target string) ([]*conn.Conn, error) {
	if topology.Targets[target].MultiCluster == nil {
		return nil, nil
	}
	clusters, err := conn.Clusters(ctx, &f.kube, topology, target)
	if err != nil {
		return nil, err
	}
	var conns []*conn.Conn
	for _, c := range clusters {
		flags, err := c.Flags()
		if err != nil {
			return nil, err
		}
		conn, err := conn.Connect(flags, c.Topology(topology, target), target)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func (f *flags) connect(name string) (*conn.Conn, error) {
	const target = "prune"
	return conn.Connect(&f.kube, protocol.Topology{Targets: map[string]protocol.Target{
		target: {InCluster: &protocol.InCluster{Context: name, Namespace: "default"}},
	}}, target)
}

func (f *flags) show(out io.Writer, entries []Entry) error {
	if f.output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(entries)
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
