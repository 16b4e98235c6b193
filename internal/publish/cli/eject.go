package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/chart/workload"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Eject is harmony publish eject, and --eject-chart: it writes the chart that is
// generated for an app's workload into the project, for whoever wants to say more
// than a workload can.
func Eject(flags *publish.Flags, getenv func(string) string) command.Option {
	var folder string
	cmd := &cobra.Command{
		Use: "eject APP", Short: "Write the chart that is generated from an app's chart.workload into the project",
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := only(project.Source{File: flag(cmd, "file"), Getenv: getenv}, args)
			if err != nil {
				return err
			}
			return eject(app, cmp.Or(folder, flags.EjectChart, filepath.Join(app.ProjectRoot, "charts", app.Name)), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&folder, "into", "", "the `folder`, in the project; it must not exist or be empty (default charts/APP)")
	return subcommand(cmd, func() bool { return flags.EjectChart != "" })
}

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
		return protocol.AppSpec{}, protocol.Invalid("a chart is ejected for one app, not for %d", len(apps))
	}
	return apps[0], nil
}

// eject writes the chart of the app into a folder, which must be in its project,
// and must not exist or be empty. It prints what replaces
// chart.workload in harmony.yaml.
func eject(app protocol.AppSpec, dir string, out io.Writer) error {
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
			WithHint("for example --into %s", filepath.Join(app.ProjectRoot, "charts", app.Name))
	}
	files, err := workload.Files(app)
	if err != nil {
		return err
	}
	if err := workload.Write(files, folder); err != nil {
		return err
	}
	places := app.Chart.ImagePlaces()
	_, err = fmt.Fprintf(out, `# %s holds the chart of %s. Put this in harmony.yaml, instead of chart.workload:
chart:
  path: %q
  image: %s
`, dir, app.Name, filepath.ToSlash(path), places)
	return err
}
