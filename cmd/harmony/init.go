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
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/project/scan"
	"github.com/nationtech/harmony/pkg/protocol"
)

// initFlags are those of init.
type initFlags struct {
	from     string
	dryRun   bool
	generate bool
}

func initialize() *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a harmony.yaml for the project in this folder",
		Long: `Write a harmony.yaml for the project in this folder, from what it has already: Dockerfiles,
Go main packages, web pages, Helm charts, and the files of skaffold, helmfile, werf, compose,
Argo CD and Flux. Comments in it tell what was found where, and what was not understood.

What was written is proven: its charts are rendered, and where a cluster is reachable, the
release is planned. A harmony.yaml that is there already is never overwritten.`,
		Example: `  # show what would be written
  harmony init --dry-run

  # an image without a chart gets a generated one
  harmony init --chart

  # read nothing but this file
  harmony init --from skaffold.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return protocol.Invalid("init takes no arguments, but got %q", args[0]).WithHint("run it in the project's folder; --from names a file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runInit(cmd, f) },
	}
	own := cmd.Flags()
	own.BoolVar(&f.dryRun, "dry-run", false, "print the harmony.yaml, and write nothing")
	own.StringVar(&f.from, "from", "", "read only this `file`")
	own.BoolVar(&f.generate, "chart", false, "give each image without a chart a generated one (chart.workload)")
	return cmd
}

func runInit(cmd *cobra.Command, f *initFlags) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, config.FileName)
	if _, err := os.Lstat(file); !f.dryRun && !errors.Is(err, fs.ErrNotExist) {
		return exists()
	}
	apps, text, err := f.propose(cmd.Context(), dir)
	if err != nil {
		return err
	}
	if f.dryRun {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	return proveInit(cmd, file, apps)
}

func exists() error {
	return protocol.Invalid("%s exists, and init overwrites none", config.FileName).WithHint("'harmony init --dry-run' prints what it would write")
}

// propose is the text of the harmony.yaml for a folder, and its apps' names.
func (f *initFlags) propose(ctx context.Context, dir string) (names []string, text []byte, err error) {
	root, err := os.OpenRoot(dir) // no link leads out of it
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	found, err := f.scan(ctx, dir, root.FS())
	if err != nil {
		return nil, nil, err
	}
	apps := found.Apps(scan.Options{Project: filepath.Base(dir), Generate: f.generate})
	if len(apps) == 0 {
		return nil, nil, nothing(found)
	}
	for _, app := range apps {
		names = append(names, app.Spec.Name)
	}
	text, err = found.Write(apps)
	return names, text, err
}

func (f *initFlags) scan(ctx context.Context, dir string, files fs.FS) (scan.Found, error) {
	if f.from == "" {
		return scan.Project(ctx, files)
	}
	path, err := filepath.Abs(f.from)
	if err == nil {
		path, err = filepath.Rel(dir, path)
	}
	if err != nil || !filepath.IsLocal(path) {
		return scan.Found{}, protocol.Invalid("--from %s is not in this folder", f.from).WithHint("change to the project's folder: paths in %s are relative to it", config.FileName)
	}
	return scan.One(files, filepath.ToSlash(path))
}

// nothing is the error where no app is to be made of what was found.
func nothing(found scan.Found) error {
	var text strings.Builder
	text.WriteString("no app was found: it takes an image and a chart")
	lines := func(notes []scan.Note) (list []string) {
		for _, note := range notes {
			list = append(list, term.OneLine(note.String()))
		}
		return list
	}
	const most = 20
	if all := append(lines(found.Notes), lines(found.Unclear)...); len(all) > 0 {
		fmt.Fprintf(&text, "\n%s", term.Listed(all, most))
	}
	err := protocol.Invalid("%s", text.String())
	if len(found.Images) > 0 && len(found.Charts) == 0 {
		return err.WithHint("'harmony init --chart' gives the image a generated chart")
	}
	return err.WithHint("for the fields of %s see docs/configuration.md", config.FileName)
}

// writeNew writes a harmony.yaml that loads. One that is there already is not replaced,
// not even one that another process makes at the same time.
func writeNew(file string, text []byte) error {
	next, err := os.CreateTemp(filepath.Dir(file), "."+config.FileName+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", config.FileName, err)
	}
	defer os.Remove(next.Name())
	_, err = next.Write(text)
	if err = errors.Join(err, next.Chmod(0o644), next.Close()); err != nil {
		return fmt.Errorf("write %s: %w", config.FileName, err)
	}
	if _, err := config.Load(next.Name()); err != nil {
		return protocol.Invalid("nothing was written, for what was found does not make a valid %s:\n%s",
			config.FileName, strings.ReplaceAll(err.Error(), filepath.Base(next.Name()), config.FileName)).
			WithHint("'harmony init --dry-run >%s' writes it for you to complete", config.FileName)
	}
	return publish(next.Name(), file)
}

// publish gives a written file its name. A link never replaces a file; not every file
// system has links.
func publish(written, file string) error {
	err := os.Link(written, file)
	if _, there := os.Lstat(file); err != nil && errors.Is(there, fs.ErrNotExist) {
		err = os.Rename(written, file)
	}
	if errors.Is(err, fs.ErrExist) {
		return exists()
	}
	return err
}
