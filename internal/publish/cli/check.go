package cli

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/oci"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Result is what check -o json prints, as registries: one for each capability
// of the topology that has a registry or does without.
type Result struct {
	// Capability is OCIRegistry or HelmRegistry, and Adapter what provides it.
	Capability string `json:"capability"`
	Adapter    string `json:"adapter"`
	// Repository is the one that was asked for; empty for an adapter without a
	// registry.
	Repository string `json:"repository,omitempty"`
	// Source says where the credentials come from, never what they are.
	Source string `json:"source,omitempty"`
	// Pull and Push tell whether that is allowed; absent without a registry.
	Pull *bool `json:"pull,omitempty"`
	Push *bool `json:"push,omitempty"`
	// Reason is in the registry's words why something is not allowed.
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// Check is harmony publish check, and --check: it shows for each registry of the
// topology which credentials are used and what they allow.
func Check(flags *publish.Flags, getenv func(string) string) command.Option {
	return subcommand(&cobra.Command{
		Use: "check", Short: "Show where credentials come from and what the registries allow; push nothing",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from := project.Source{File: flag(cmd, "file"), Topology: flag(cmd, "topology"), Getenv: getenv}
			topology, err := from.ConfiguredTopology(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			results, err := checkAll(cmd.Context(), topology)
			if len(results) > 0 {
				asText := flag(cmd, "output") == "text" || flag(cmd, "output") == "auto" && term.IsTerminal(out)
				if failed := write(out, results, asText); failed != nil {
					return failed
				}
			}
			return err
		},
	}, func() bool { return flags.Check })
}

// checkAll checks the topology's registries. The error lists all that is not
// allowed.
func checkAll(ctx context.Context, t protocol.Topology) ([]Result, error) {
	var results []Result
	var problems []error
	fields := map[string]string{capability.NameOCIRegistry: "spec.ociRegistry", capability.NameHelmRegistry: "spec.helmRegistry"}
	for _, c := range t.Provided() {
		if fields[c.Capability] == "" {
			continue
		}
		result := Result{Capability: c.Capability, Adapter: cmp.Or(c.Provider.Adapter, c.Provider.Plugin)}
		if c.Provider.Adapter == "oci" && c.Provider.Plugin == "" {
			env := capability.Environment{Topology: t, Provider: c.Provider, Progress: func(protocol.Event) {}}
			access, err := oci.Check(ctx, env, fields[c.Capability])
			if err != nil {
				return results, err
			}
			problems = append(problems, access.Pull, access.Push)
			result.fill(access)
		}
		results = append(results, result)
	}
	return results, worst(problems)
}

func (r *Result) fill(a oci.Access) {
	r.Repository, r.Source = a.Repository, a.Source
	r.Pull, r.Push = new(a.Pull == nil), new(a.Push == nil)
	for _, err := range []error{a.Pull, a.Push} { // why it cannot be pushed counts more
		if err != nil {
			r.Reason, r.Hint = err.Error(), protocol.HintOf(err)
		}
	}
}

// worst joins the errors; the status is that of the worst one, the hint that of
// the first.
func worst(problems []error) error {
	err := errors.Join(problems...)
	if err == nil {
		return nil
	}
	failed := &protocol.Error{Err: err}
	var codes []int
	for _, p := range problems {
		codes = append(codes, protocol.ExitCode(p))
		failed.Hint = cmp.Or(failed.Hint, protocol.HintOf(p))
	}
	failed.Code = protocol.WorstCode(codes...)
	return failed
}

func write(w io.Writer, results []Result, asText bool) error {
	if !asText {
		return term.WriteJSON(w, map[string][]Result{"registries": results})
	}
	rows := [][]string{{"CAPABILITY", "ADAPTER", "REPOSITORY", "CREDENTIALS", "PULL", "PUSH"}}
	for _, r := range results {
		rows = append(rows, []string{r.Capability, r.Adapter, cmp.Or(r.Repository, "-"), cmp.Or(r.Source, "-"), allowed(r.Pull), allowed(r.Push)})
	}
	return term.Table(w, rows)
}

func allowed(yes *bool) string {
	switch {
	case yes == nil:
		return "-"
	case *yes:
		return "yes"
	}
	return "no"
}

// subcommand adds c, with the flags of the stage. It also runs where alias says
// so: it was a flag once.
func subcommand(c *cobra.Command, alias func() bool) command.Option {
	add := command.Subcommand(c)
	return func(root *cobra.Command) {
		c.Flags().AddFlagSet(root.Flags())
		add(root)
		run := root.RunE
		root.RunE = func(cmd *cobra.Command, args []string) error {
			if alias() {
				return c.RunE(cmd, args)
			}
			return run(cmd, args)
		}
	}
}

// flag is the value of one, empty where the command has none of that name.
func flag(cmd *cobra.Command, name string) string {
	if f := cmd.Flag(name); f != nil {
		return f.Value.String()
	}
	return ""
}
