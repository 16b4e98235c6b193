package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	pluginindex "github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/pkg/protocol"
)

// configured is an index in the output of index list.
type configured struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Signed bool   `json:"signed"`
	Key    string `json:"key,omitempty"`
}

func (c *cli) indexCommand() *cobra.Command {
	parent := &cobra.Command{
		Use: "index",
		Long: `An index is a git repository, an OCI artifact (oci://…), an https tree or a folder with
one manifest per plugin. If none is configured, harmony's own index is used.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return protocol.Invalid("no command %q", "harmony plugin index "+args[0]).WithHint("see 'harmony plugin index --help'")
			}
			return cmd.Help()
		},
	}
	parent.AddCommand(c.indexAdd(), c.indexList(), c.indexUpdate(), c.indexRemove(), c.indexBuild())
	return parent
}

func (c *cli) indexAdd() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "add NAME URL", Short: "Fetch, verify and add an index",
		Long: `Fetch, verify and add an index. With a key, every manifest must be signed by it, now and
at every update: a minisign key (its one line, or the file) or a cosign key (the PEM
file).`,
		Example: `  harmony plugin index add corp https://git.example.com/platform/plugins.git --key corp.pub
  harmony plugin index add corp oci://registry.example.com/platform/plugin-index
  harmony plugin index add mine ~/plugins`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("key") && strings.TrimSpace(key) == "" {
				return protocol.Invalid("--key is empty").WithHint("omit it for an unsigned index")
			}
			return c.runIndexAdd(cmd.Context(), args[0], args[1], key)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public `key` of the manifests' signatures, or its file")
	c.downgradeFlag(cmd, "allow-downgrade")
	return cmd
}

func (c *cli) runIndexAdd(ctx context.Context, name, address, key string) error {
	key, err := readKey(key)
	if err != nil {
		return err
	}
	if address, err = absolute(address); err != nil {
		return err
	}
	index := pluginindex.Index{Name: name, URL: address, Key: key}
	if err := c.indexes().Add(ctx, index); err != nil {
		return err
	}
	return c.writeIndexes([]pluginindex.Index{index}, "added index "+name+" ("+signedWord(index)+")")
}

// readKey is the key itself, or the content of the file of that name.
func readKey(key string) (string, error) {
	if key == "" || strings.HasPrefix(key, "RW") && !strings.ContainsAny(key, "./") {
		return key, nil
	}
	info, err := os.Stat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return "", protocol.Invalid("--key %s is neither a minisign key, which begins with RW, nor a file", key)
	}
	if err != nil {
		return "", protocol.Invalid("--key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > 16<<10 {
		return "", protocol.Invalid("--key %s is not a file with a public key", key)
	}
	data, err := os.ReadFile(key)
	if err != nil {
		return "", protocol.Invalid("--key: %w", err)
	}
	if strings.TrimSpace(string(data)) == "" {
		return "", protocol.Invalid("--key %s is empty", key)
	}
	return string(data), nil
}

// absolute makes a folder's path absolute. Other addresses stay as they are.
func absolute(address string) (string, error) {
	if info, err := os.Stat(address); err != nil || !info.IsDir() {
		return address, nil
	}
	return filepath.Abs(address)
}

func (c *cli) indexList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the configured indexes", Args: cobra.NoArgs,
		Example: "  harmony plugin index list -o json",
		RunE: func(*cobra.Command, []string) error {
			list, err := c.indexes().Indexes()
			if err != nil {
				return err
			}
			return c.writeIndexes(list, "")
		},
	}
}

// writeIndexes prints indexes: as json, or else the line, or without one a table.
func (c *cli) writeIndexes(list []pluginindex.Index, line string) error {
	switch {
	case c.output == "json":
		shown := []configured{}
		for _, index := range list {
			shown = append(shown, configured{index.Name, index.URL, index.Key != "", index.Key})
		}
		return c.writeJSON(shown)
	case line != "":
		_, err := fmt.Fprintln(c.stdout, line)
		return err
	}
	rows := [][]string{{"NAME", "URL", "SIGNATURES"}}
	for _, index := range list {
		rows = append(rows, []string{index.Name, index.URL, signedWord(index)})
	}
	return term.Table(c.stdout, rows)
}

func (c *cli) indexUpdate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update [NAME...]", Short: "Fetch indexes again; all when none is named",
		Long: `Fetch indexes again. A copy is replaced only by a verified one: signed if the index has
a key, and with no older version than before.`,
		Example:           "  harmony plugin index update\n  harmony plugin index update corp --allow-downgrade",
		ValidArgsFunction: c.completeIndexes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.indexes().Update(cmd.Context(), args...)
		},
	}
	c.downgradeFlag(cmd, "allow-downgrade")
	return cmd
}

func (c *cli) indexRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove an index; plugins installed from it stay",
		Example: "  harmony plugin index remove corp",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: c.completeIndexes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.indexes().Remove(cmd.Context(), args[0]); err != nil {
				return err
			}
			return c.writeIndexes(nil, "removed index "+args[0])
		},
	}
}

func (c *cli) indexBuild() *cobra.Command {
	return &cobra.Command{
		Use: "build FOLDER", Short: "Check the manifests in a folder and list them in its index.yaml",
		Long: `Check the manifests in a folder and list them with their hashes in its index.yaml. The
folder can then be served as an https tree. Nothing is written if a manifest is invalid.`,
		Example: "  harmony plugin index build public/plugins",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := pluginindex.Build(args[0])
			if err != nil {
				return err
			}
			c.tell("%s lists %d manifests", filepath.Join(args[0], "index.yaml"), n)
			return nil
		},
	}
}

func (c *cli) completeIndexes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list, _ := c.indexes().Indexes()
	return completions(list, func(i pluginindex.Index) string { return i.Name + "\t" + i.URL })
}

// completions are the lines of a list for the shell's completion.
func completions[T any](list []T, line func(T) string) ([]string, cobra.ShellCompDirective) {
	var lines []string
	for _, item := range list {
		lines = append(lines, line(item))
	}
	return lines, cobra.ShellCompDirectiveNoFileComp
}
