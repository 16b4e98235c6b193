package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/index"
)

// offer is a plugin of an index as search lists it.
type offer struct {
	Index            string   `json:"index"`
	Name             string   `json:"name"`
	Version          string   `json:"version"`
	ShortDescription string   `json:"shortDescription"`
	Stage            string   `json:"stage,omitempty"`
	Apps             []string `json:"apps,omitempty"`
}

func offerOf(f index.Found) offer {
	m := f.Manifest
	return offer{f.Index.Name, m.Name, m.Version, m.ShortDescription, m.Stage, m.Apps}
}

func (c *cli) search() *cobra.Command {
	cmd := &cobra.Command{
		Use: "search",
		Long: `List the newest version of every plugin whose name or description holds all the words;
all plugins when there is no word. An index's copy that is older than a day is fetched
again first.`,
		Example: `  harmony plugin search
  harmony plugin search deploy --index corp
  harmony plugin search -o json`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			indexes, err := c.indexes()
			if err != nil {
				return err
			}
			found, failed := indexes.Search(cmd.Context(), strings.Join(args, " "))
			if len(found) == 0 && failed != nil {
				return failed
			}
			return errors.Join(c.writeOffers(found), failed)
		},
	}
	c.indexFlag(cmd)
	c.downgradeFlag(cmd)
	return cmd
}

func (c *cli) writeOffers(found []index.Found) error {
	if c.output == "json" {
		list := []offer{}
		for _, f := range found {
			list = append(list, offerOf(f))
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

// downgradeFlag adds the flag that accepts an index which offers older versions
// than before.
func (c *cli) downgradeFlag(cmd *cobra.Command) { c.indexDowngradeFlag(cmd, "allow-downgrade") }

func (c *cli) indexDowngradeFlag(cmd *cobra.Command, name string) {
	cmd.Flags().BoolVar(&c.allowIndexDowngrade, name, false, "accept an index that offers older versions than before")
}
