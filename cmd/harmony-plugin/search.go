package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/index"
)

// offer is a plugin in the output of search.
type offer struct {
	Index            string   `json:"index"`
	Name             string   `json:"name"`
	Version          string   `json:"version"`
	ShortDescription string   `json:"shortDescription"`
	Stage            string   `json:"stage,omitempty"`
	Apps             []string `json:"apps,omitempty"`
}

func (c *cli) search() *cobra.Command {
	cmd := &cobra.Command{
		Use: "search",
		Long: `List the newest version of every plugin whose name or description contains all the
words; all plugins without a word. An index whose copy is older than a day is fetched
again first.`,
		Example: `  harmony plugin search
  harmony plugin search deploy --index corp
  harmony plugin search -o json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, failed := c.indexes().Search(cmd.Context(), strings.Join(args, " "))
			if len(found) == 0 && failed != nil {
				return failed
			}
			return errors.Join(c.writeOffers(found), failed)
		},
	}
	c.indexFlag(cmd)
	c.downgradeFlag(cmd, "allow-downgrade")
	return cmd
}

func (c *cli) writeOffers(found []index.Found) error {
	if c.output == "json" {
		list := []offer{}
		for _, f := range found {
			m := f.Manifest
			list = append(list, offer{f.Index.Name, m.Name, m.Version, m.ShortDescription, m.Stage, m.Apps})
		}
		return c.writeJSON(list)
	}
	if len(found) == 0 {
		c.tell("no plugin found")
		return nil
	}
	rows := [][]string{{"NAME", "VERSION", "INDEX", "DESCRIPTION"}}
	for _, f := range found {
		rows = append(rows, []string{f.Manifest.Name, f.Manifest.Version, f.Index.Name, f.Manifest.ShortDescription})
	}
	return term.Table(c.stdout, rows)
}

// downgradeFlag adds the flag that accepts an index with older versions than before.
func (c *cli) downgradeFlag(cmd *cobra.Command, name string) {
	cmd.Flags().BoolVar(&c.allowIndexDowngrade, name, false, "accept an index with older versions than before")
}

// details is the output of info.
type details struct {
	Index    string         `json:"index"`
	Name     string         `json:"name"`
	Version  string         `json:"version"`
	Signed   bool           `json:"signed"`
	Manifest index.Manifest `json:"manifest"`
}

func (c *cli) info() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info",
		Example: `  harmony plugin info spinnaker
  harmony plugin info corp/spinnaker@1.4.0 -o json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeOffered,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, exact := strings.Cut(args[0], "@")
			if exact && version == "" {
				return noVersion(args[0])
			}
			found, err := c.indexes().Find(cmd.Context(), name, version)
			if err != nil {
				return err
			}
			if c.output == "json" {
				m := found.Manifest
				return c.writeJSON(details{found.Index.Name, m.Name, m.Version, found.Index.Key != "", m})
			}
			return writeInfo(c.stdout, found)
		},
	}
	c.indexFlag(cmd)
	c.downgradeFlag(cmd, "allow-downgrade")
	return cmd
}

// writeInfo prints a manifest for people. Its texts have no control characters.
func writeInfo(w io.Writer, f index.Found) error {
	m := f.Manifest
	rows := [][]string{
		{"Name:", m.Name},
		{"Version:", m.Version},
		{"Index:", f.Index.Name + " (" + signedWord(f.Index) + ")"},
		{"Offers:", offers(m)},
		{"Protocol:", fmt.Sprintf("%d to %d", m.Protocol.Min, m.Protocol.Max)},
	}
	if m.Homepage != "" {
		rows = append(rows, []string{"Homepage:", m.Homepage})
	}
	for i, p := range m.Platforms {
		heading := ""
		if i == 0 {
			heading = "Platforms:"
		}
		rows = append(rows, []string{heading, p.OS + "/" + p.Arch + "  " + term.Bytes(p.Size) + "  " + p.URI})
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	for _, text := range []string{m.ShortDescription, m.Description, m.Caveats} {
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

func signedWord(index index.Index) string {
	if index.Key == "" {
		return "not signed"
	}
	return "signed"
}

func offers(m index.Manifest) string {
	switch {
	case m.Stage != "":
		return "the stage " + m.Stage
	case len(m.Apps) > 0:
		return "the apps " + strings.Join(m.Apps, ", ")
	}
	return "a command"
}
