// Package lock is harmony lock: it pins the charts of others that the apps of a project
// name in harmony.lock.
package lock

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/chart/upstream"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// parallel is how many charts are fetched at a time.
const parallel = 4

// flags are those of the command.
type flags struct {
	source        project.Source
	check, update bool
}

// Command is the command of harmony-chart that writes harmony.lock.
func Command(streams command.Streams) *cobra.Command {
	f := &flags{source: project.Source{Getenv: streams.Getenv}}
	cmd := &cobra.Command{
		Use:   "lock [APP...]",
		Short: "Pin the charts of others that apps name",
		Long: `Fetch the charts that apps name by chart.url, and write their digests into harmony.lock,
next to harmony.yaml. A release takes no other bytes. Commit the file.

A version that was replaced at its source since it was locked is refused; --update takes
what is there now. Where an app names a keyring, the chart's provenance file must be
signed with one of its keys. Where it sets pinImages, the digests of the chart's images
are written too; images that the chart passes on in arguments or variables are not, and
named on stderr.

Without arguments it is about all apps, and entries of apps that name no such chart any
more are removed.`,
		Example: `  harmony lock
  harmony lock ingress --update      # take the chart that is published now
  harmony lock --check               # in CI: fail when harmony.lock is out of date`,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if f.check && f.update {
				return protocol.Invalid("--check changes nothing, and --update does: give one of them")
			}
			return f.run(cmd.Context(), streams, patterns)
		},
	}
	cmd.Flags().StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	cmd.Flags().BoolVar(&f.check, "check", false, "write nothing; exit with 1 if harmony.lock would change or a source has replaced a version")
	cmd.Flags().BoolVar(&f.update, "update", false, "take what the sources have now, also where harmony.lock has another digest")
	return cmd
}

func (f *flags) run(ctx context.Context, streams command.Streams, patterns []string) error {
	loaded, err := f.source.Project()
	if err != nil {
		return err
	}
	all := len(patterns) == 0
	if all {
		patterns = []string{"*"}
	}
	apps, err := loaded.Select(patterns)
	if err != nil {
		return err
	}
	old, err := config.ReadLock(loaded.Root)
	if err != nil {
		return err
	}
	apps = slices.DeleteFunc(apps, func(app protocol.AppSpec) bool { return app.Chart.URL == "" })
	if len(apps) == 0 && !all {
		return protocol.Invalid("none of these apps names a chart of others by chart.url")
	}
	found, notes, err := f.find(ctx, old, apps)
	if err != nil {
		return err
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(streams.Err, term.Clean(note)); err != nil {
			return err
		}
	}
	next := config.ChartLock{Charts: slices.Clone(found)}
	for _, c := range old.Charts {
		if !all && !slices.ContainsFunc(found, func(n config.AppChart) bool { return n.App == c.App }) {
			next.Charts = append(next.Charts, c)
		}
	}
	changes := differences(old, next)
	if f.check {
		return checked(streams.Out, changes, len(next.Charts))
	}
	if _, err := next.Write(loaded.Root); err != nil {
		return err
	}
	return tell(streams.Out, changes, len(next.Charts))
}

// find pins the chart of each app, several at a time. The notes tell what is not pinned.
func (f *flags) find(ctx context.Context, old config.ChartLock, apps []protocol.AppSpec) (found []config.AppChart, notes []string, err error) {
	found, loose := make([]config.AppChart, len(apps)), make([][]string, len(apps))
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, app := range apps {
		group.Go(func() (err error) {
			before, known := old.Of(app.Name)
			if f.update {
				before = config.AppChart{}
			}
			var archive []byte
			found[i], archive, err = pin(fetching, app)
			if err == nil && known {
				err = replaced(before, found[i])
			}
			if err == nil && app.Chart.PinImages {
				found[i].Images, loose[i], err = pinImages(fetching, app, archive, before.Images)
			}
			if err != nil {
				return fmt.Errorf("app %s: %w", app.Name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	for i, texts := range loose {
		for _, text := range texts {
			notes = append(notes, apps[i].Name+": "+text)
		}
	}
	return found, notes, err
}

// pinImages are the digests of the images that the chart takes by a tag. Those that are
// known stay. It also tells the images that are not pinned.
func pinImages(ctx context.Context, app protocol.AppSpec, archive []byte, known map[string]string) (map[string]string, []string, error) {
	images, err := pack.LooseImages(ctx, app, archive)
	if err != nil {
		return nil, nil, err
	}
	digests := map[string]string{}
	for _, image := range images {
		if digests[image] = known[image]; digests[image] != "" {
			continue
		}
		if digests[image], err = upstream.ImageDigest(ctx, image); err != nil {
			return nil, nil, err
		}
	}
	loose, err := pack.CheckPins(ctx, app, archive, digests)
	return digests, loose, err
}

// pin fetches the chart of an app and checks it.
func pin(ctx context.Context, app protocol.AppSpec) (config.AppChart, []byte, error) {
	c, err := upstream.Find(ctx, app.Chart)
	if err != nil {
		return config.AppChart{}, nil, err
	}
	if err := pack.CheckPublished(app.Chart, c.Archive); err != nil {
		return config.AppChart{}, nil, err
	}
	pinned := config.AppChart{
		App: app.Name, URL: app.Chart.URL, Name: app.Chart.Name, Version: app.Chart.Version,
		LockedChart: protocol.LockedChart{Digest: c.Digest(), Archive: c.URL},
	}
	if app.Chart.Keyring != "" {
		if pinned.Signer, err = upstream.Verify(c, app.Chart, app.ProjectRoot); err != nil {
			return config.AppChart{}, nil, err
		}
	}
	upstream.Keep(c.Archive)
	return pinned, c.Archive, nil
}

// replaced refuses other bytes of the chart and version that were locked.
func replaced(before, now config.AppChart) error {
	if before.URL != now.URL || before.Name != now.Name || before.Version != now.Version || before.Digest == now.Digest {
		return nil
	}
	moved := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("version %s at %s has the digest %s now, and %s has %s: somebody replaced it", now.Version, now.URL, now.Digest, config.LockFile, before.Digest)}
	return moved.WithHint("if that is right: harmony lock %s --update", now.App)
}

// differences tells what changes, a line for each app.
func differences(old, next config.ChartLock) (lines []string) {
	for _, now := range next.Charts {
		switch before, known := old.Of(now.App); {
		case !known:
			lines = append(lines, fmt.Sprintf("%s: %s, %s", now.App, title(now), now.Digest))
		case before.Digest == now.Digest && !reflect.DeepEqual(before, now):
			lines = append(lines, fmt.Sprintf("%s: %s, the same archive", now.App, title(now)))
		case before.Digest != now.Digest:
			lines = append(lines, fmt.Sprintf("%s: %s, %s; was %s", now.App, title(now), now.Digest, title(before)))
		}
	}
	for _, before := range old.Charts {
		if _, kept := next.Of(before.App); !kept {
			lines = append(lines, fmt.Sprintf("%s: %s is removed", before.App, title(before)))
		}
	}
	slices.Sort(lines)
	return lines
}

func title(c config.AppChart) string {
	text := protocol.ChartSource{URL: c.URL, Name: c.Name}.PublishedName() + " " + c.Version
	if c.Signer != "" {
		text += ", signed by " + c.Signer
	}
	switch count := len(c.Images); count {
	case 0:
	case 1:
		text += ", 1 image"
	default:
		text += fmt.Sprintf(", %d images", count)
	}
	return text
}

func tell(out io.Writer, changes []string, count int) error {
	if len(changes) == 0 {
		changes = []string{fmt.Sprintf("%s is up to date (%d)", config.LockFile, count)}
	}
	_, err := fmt.Fprintln(out, term.Clean(strings.Join(changes, "\n")))
	return err
}

// checked is the result of --check.
func checked(out io.Writer, changes []string, count int) error {
	if len(changes) == 0 {
		return tell(out, nil, count)
	}
	stale := &protocol.Error{Code: protocol.ExitFailed, Message: config.LockFile + " is out of date:\n  " + strings.Join(changes, "\n  ")}
	return stale.WithHint("run harmony lock, and commit %s", config.LockFile)
}
