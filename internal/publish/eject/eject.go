// Package eject is harmony publish --eject-chart: it writes the chart that is
// generated for an app's workload into the project, for whoever wants to say
// more than a workload can.
package eject

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/chart/workload"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Option makes a command eject where the flag is set.
func Option(flags *publish.Flags, getenv func(string) string) func(*cobra.Command) {
	return func(root *cobra.Command) {
		run := root.RunE
		root.RunE = func(cmd *cobra.Command, args []string) error {
			if flags.EjectChart == "" {
				return run(cmd, args)
			}
			from := project.Source{File: cmd.Flag("file").Value.String(), Getenv: getenv}
			app, err := only(from, args)
			if err == nil {
				err = Run(app, flags.EjectChart, cmd.OutOrStdout())
			}
			if err != nil { // no error of usage, so it has its type
				return &protocol.Error{Code: protocol.ExitCode(err), Hint: protocol.HintOf(err), Err: err}
			}
			return nil
		}
	}
}

// only is the one app that is named.
func only(from project.Source, names []string) (protocol.AppSpec, error) {
	project, err := from.Project()
	if err != nil {
		return protocol.AppSpec{}, err
	}
	apps, err := project.Select(names)
	if err != nil {
		return protocol.AppSpec{}, err
	}
	if len(apps) != 1 {
		return protocol.AppSpec{}, protocol.Invalid("--eject-chart is for one app, not for %d", len(apps))
	}
	return apps[0], nil
}

// Run writes the chart of the app into a folder, which must be in its project,
// and must not exist or be empty. It tells what of harmony.yaml is to be
// replaced.
func Run(app protocol.AppSpec, dir string, out io.Writer) error {
	if app.Chart.Workload == nil {
		return protocol.Invalid("app %q has a chart: only one that is generated, from chart.workload, can be ejected", app.Name)
	}
	folder, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	path, err := filepath.Rel(app.ProjectRoot, folder)
	if err != nil || !filepath.IsLocal(path) || path == "." {
		return protocol.Invalid("%s is not a folder below %s, the root of the project of app %q", dir, app.ProjectRoot, app.Name).
			WithHint("for example --eject-chart %s", filepath.Join(app.ProjectRoot, "charts", app.Name))
	}
	files, err := workload.Files(app)
	if err != nil {
		return err
	}
	if err := workload.Write(files, folder); err != nil {
		return err
	}
	places := app.Chart.ImagePlaces()
	_, err = fmt.Fprintf(out, `# %s holds the chart of %s. Put this in harmony.yaml, in the place of chart.workload:
chart:
  path: %q
  image: {value: %s}
`, dir, app.Name, filepath.ToSlash(path), places.Value)
	return err
}
