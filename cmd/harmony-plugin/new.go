package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/plugins/scaffold"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// written is the output of harmony plugin new -o json.
type written struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	// Folder is absolute.
	Folder string `json:"folder"`
}

func (c *cli) newPlugin() *cobra.Command {
	var language, directory string
	cmd := &cobra.Command{
		Use: "new",
		Long: `Write a new stage plugin into the folder harmony-NAME: a smoke stage that keeps the
contract of a stage and has a place for your own checks. To use it instead of
harmony-smoke, set 'smoke: {plugin: harmony-NAME}' in a topology.`,
		Example: `  harmony plugin new smoke-acme --language go
  harmony plugin new smoke-acme --language python
  harmony plugin verify harmony-smoke-acme/harmony-smoke-acme`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			name := strings.TrimPrefix(args[0], "harmony-")
			if slices.Contains(append(suite.BuiltIn(), suite.Plugins()...), name) {
				return protocol.Invalid("%q is a command of harmony: a plugin with this name would replace it, or never run", name).
					WithHint("choose another name, such as %s-acme", name)
			}
			folder, err := scaffold.Plugin{Name: name, Language: language, Harmony: released(suite.Version())}.Write(directory)
			if err != nil {
				return err
			}
			if c.output == "json" {
				absolute, err := filepath.Abs(folder)
				if err != nil {
					return err
				}
				return c.writeJSON(written{Name: name, Language: language, Folder: absolute})
			}
			if _, err := fmt.Fprintf(c.stdout, "wrote %s\n", folder); err != nil {
				return err
			}
			c.tell("for the next steps, see %s", filepath.Join(folder, "README.md"))
			return nil
		},
	}
	cmd.Flags().StringVarP(&language, "language", "l", "", "the `language`: "+strings.Join(scaffold.Languages(), ", "))
	cmd.Flags().StringVar(&directory, "directory", ".", "the `folder` to write into")
	return cmd
}

// released is the suite's version if it is a published one, or "".
func released(version string) string {
	v, err := semver.StrictNewVersion(version)
	if err != nil || v.Prerelease() != "" || v.Metadata() != "" {
		return ""
	}
	return v.String()
}
