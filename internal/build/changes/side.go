package changes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

// set is a set of texts for several goroutines.
type set struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newSet() *set { return &set{seen: map[string]bool{}} }

// add reports whether the text is new.
func (s *set) add(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.seen[text]
	s.seen[text] = true
	return !known
}

// side has the inputs of apps at one time.
type side map[string]*listed

// listed are the inputs of an app.
type listed struct {
	items []inputs.Item
	// paths are those of the repository that were read, with slashes.
	paths map[string]bool
	// err says why they could not be listed.
	err error
}

// now lists the inputs of the apps as they are in the work tree.
func (p *project) now(ctx context.Context, names []string) (side, error) {
	dir := filepath.Join(p.temp, "now")
	if err := p.repository.SnapshotNow(ctx, dir, p.warn); err != nil {
		return nil, err
	}
	return p.list(ctx, dir, names)
}

// at lists the inputs of the apps at a commit. An app that was not there is missing.
func (p *project) at(ctx context.Context, commit string, names []string) (side, error) {
	dir := filepath.Join(p.temp, commit)
	if err := p.repository.Snapshot(ctx, commit, dir, p.warn); err != nil {
		return nil, err
	}
	listed, err := p.list(ctx, dir, names)
	return listed, errors.Join(err, os.RemoveAll(dir))
}

// list lists the inputs of the apps in a snapshot.
func (p *project) list(ctx context.Context, dir string, names []string) (side, error) {
	// It ends the search for the top of the project, as in a work tree.
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o777); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, p.file)
	if _, err := os.Stat(file); err != nil {
		return side{}, nil // there was no project
	}
	project, err := config.Load(file)
	if err != nil {
		return nil, within(dir, err)
	}
	s := side{}
	var apps []protocol.AppSpec
	for _, app := range project.Apps {
		if slices.Contains(names, app.Name) {
			apps, s[app.Name] = append(apps, app), &listed{paths: map[string]bool{}}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU() + 1)
	group.Go(func() error { return p.charts(ctx, dir, apps, s) })
	images, lister := make([]listed, len(apps)), p.lister.Together(apps)
	for i, app := range apps {
		group.Go(func() error {
			images[i] = image(ctx, lister, dir, app)
			if protocol.ExitCode(images[i].err) == protocol.ExitUnsupported {
				return fmt.Errorf("the inputs of %s: %w", app.Name, images[i].err)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, app := range apps {
		all := s[app.Name]
		all.items = append(images[i].items, all.items...)
		maps.Copy(all.paths, images[i].paths)
		all.err = errors.Join(images[i].err, all.err)
	}
	return s, nil
}

// image lists the AppSpec and what the images are made from.
func image(ctx context.Context, lister *build.Lister, dir string, app protocol.AppSpec) listed {
	l := listed{paths: map[string]bool{}}
	if l.items, l.err = specItems(dir, app); l.err != nil {
		return l
	}
	for _, one := range app.ForEachImage() {
		items, paths, err := lister.Items(ctx, one)
		if err != nil {
			l.err = errors.Join(l.err, within(dir, err))
		}
		_, image := protocol.SplitImage(one.Name)
		for _, item := range items {
			if image != "" {
				item.Name = "image " + image + ": " + item.Name
			}
			l.items = append(l.items, item)
		}
		for _, path := range paths {
			l.paths[relative(dir, path)] = true
		}
	}
	return l
}

// specItems are the fields of an AppSpec, and the files that only its checks read.
func specItems(dir string, app protocol.AppSpec) ([]inputs.Item, error) {
	var items []inputs.Item
	for _, check := range app.Smoke {
		if check.HTTP == nil || check.HTTP.TLS == nil || check.HTTP.TLS.CAFile == "" {
			continue
		}
		name := check.HTTP.TLS.CAFile
		value := "missing"
		if data, err := os.ReadFile(filepath.Join(app.ProjectRoot, name)); err == nil {
			value = digest.FromBytes(data).Encoded()
		}
		items = append(items, inputs.Item{Kind: "CA file", Name: name, Value: value})
	}
	app.ProjectRoot = place(dir, app.ProjectRoot)
	text, err := json.Marshal(app)
	var fields map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		items = append(items, inputs.Item{Kind: "AppSpec", Name: "spec." + name, Value: digest.FromBytes(fields[name]).Encoded()})
	}
	return items, err
}

// place is a project root as it is compared: its path in the repository.
func place(dir, root string) string {
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	if root == dir {
		return "."
	}
	return relative(dir, root)
}

// charts asks harmony-chart what the charts of the apps are made from.
func (p *project) charts(ctx context.Context, dir string, apps []protocol.AppSpec, s side) error {
	var in bytes.Buffer
	documents := protocol.NewWriter(&in)
	for _, app := range apps {
		if err := documents.WriteSpec(app); err != nil {
			return err
		}
	}
	out, err := process.Output(ctx, process.Command{Args: []string{p.chart.Path, chart.InputsCommand}, Stdin: &in})
	if err != nil {
		return err
	}
	for answers := json.NewDecoder(bytes.NewReader(out)); ; {
		var answer chart.Inputs
		err := answers.Decode(&answer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		l := s[answer.App]
		if err != nil || l == nil {
			return protocol.Unsupported("%s did not answer with the inputs of charts: %w", p.chart.Path, err).
				WithHint("install all binaries of the suite in one version")
		}
		if answer.Error != "" {
			l.err = within(dir, errors.New(answer.Error))
		}
		for _, item := range answer.Items {
			l.items = append(l.items, inputs.Item{Kind: item.Kind, Name: item.Name, Value: item.Value})
		}
		for _, path := range answer.Paths {
			l.paths[relative(dir, path)] = true
		}
	}
}

// within is an error about a snapshot, with the paths of the repository. It keeps its
// status and hint.
func within(dir string, err error) error {
	text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/", ""), dir, ".")
	return &protocol.Error{Code: protocol.ExitCode(err), Message: text, Hint: protocol.HintOf(err)}
}
