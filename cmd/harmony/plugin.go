package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/conformance"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (h *harmony) plugin() *cobra.Command {
	parent := &cobra.Command{
		Use: "plugin", Short: "Search, install and manage plugins",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return protocol.Invalid("no command %q", "harmony plugin "+args[0]).WithHint("see 'harmony plugin --help'")
			}
			return cmd.Help()
		},
	}
	var output string
	list := &cobra.Command{
		Use: "list", Short: "List all plugins on PATH, including shadowed and refused ones", Args: cobra.NoArgs,
		Long: `List all plugins on PATH, including shadowed and refused ones, and warn about entries of
PATH that others can write or that depend on the current folder. No plugin is run.`,
		Example: "  harmony plugin list\n  harmony plugin list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins := finder().List()
			for _, warning := range finder().Warnings() {
				cmd.PrintErrln("warning:", term.Clean(warning))
			}
			switch output {
			case "json":
				return term.WriteJSON(cmd.OutOrStdout(), plugins)
			case "text":
				return listPlugins(cmd, plugins)
			}
			return protocol.Invalid("--output %q is not one of text, json", output)
		},
	}
	list.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	parent.AddCommand(list, h.verify())
	parent.AddCommand(managing()...)
	return parent
}

func listPlugins(cmd *cobra.Command, plugins []discovery.Plugin) error {
	rows := [][]string{{"NAME", "VERSION", "PATH", "NOTE"}}
	for _, p := range plugins {
		note := ""
		switch {
		case p.Refused != "":
			note = "refused: " + p.Refused
		case isSibling(p):
			note = "part of harmony"
		case p.Shadowed != "":
			note = "shadowed by " + p.Shadowed
		}
		rows = append(rows, []string{p.Name, p.Version, p.Path, note})
	}
	return term.Table(cmd.OutOrStdout(), rows)
}

func (h *harmony) verify() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check that a stage plugin keeps the contract",
		Long: `Check that a stage plugin keeps the contract: its answer to describe, and how it handles
documents, failures, signals and bad input. The plugin, in any language, runs in an empty
folder with apps that have already failed or that no topology can serve. The exit status
is 1 if a check fails.`,
		Example: "  harmony plugin verify ./harmony-foo\n  harmony plugin verify ./harmony-foo -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "json" && output != "text" {
				return protocol.Invalid("--output %q is not one of text, json", output)
			}
			results, err := conformance.Verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if slices.ContainsFunc(results, func(r conformance.Result) bool { return !r.Passed }) {
				h.code = protocol.ExitFailed
			}
			if output == "json" {
				return term.WriteJSON(cmd.OutOrStdout(), results)
			}
			return showVerification(cmd, results)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func showVerification(cmd *cobra.Command, results []conformance.Result) error {
	rows := [][]string{{"CHECK", "RESULT", "RULE"}}
	for _, r := range results {
		result := "ok"
		if !r.Passed {
			result = "FAILED"
		}
		rows = append(rows, []string{r.Check, result, r.Rule})
		if !r.Passed {
			rows = append(rows, []string{"", "", "but: " + term.Clean(r.Detail)})
		}
	}
	return term.Table(cmd.OutOrStdout(), rows)
}
