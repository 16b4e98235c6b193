// Package appkit is the runtime of an app plugin: an executable harmony-NAME
// that offers apps instead of a stage, and may make their charts in Go: package
// appkit/chart does, from typed Kubernetes objects. A plugin is a [Plugin] and a
// main function of one line; see the example.
//
// What a plugin is asked:
//
//	harmony-NAME describe           one PluginInfo
//	harmony-NAME apps [NAME...]     an AppSpec for each app, and the topologies and
//	                                pipelines of their project
//	harmony-NAME chart --output DIR the chart of an app: AppSpec and ImageRef on
//	                                stdin; a ChartRef of a folder below DIR on stdout
//	harmony-NAME version            the version, for people
//	harmony-NAME release [ARG...]   harmony release, with the apps of this plugin;
//	                                and so plan, build, publish, deploy, smoke,
//	                                diff, status, rollback, uninstall and adopt
//
// A document on stdout is the answer, or a Failure; the exit status is that of
// package protocol. More questions may come; a plugin answers those that it does
// not know with status 2.
package appkit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/plain"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Plugin is an app plugin.
type Plugin struct {
	// Name is the executable's without harmony-.
	Name string
	// Version is a semantic version.
	Version string
	// Description is one line for help.
	Description string
	// Apps are those that the plugin offers.
	Apps []App
	// Topologies are those that the project adds to the built-in ones.
	Topologies []protocol.Topology
	// Pipelines are those that the project defines instead of the built-in one.
	Pipelines []protocol.Pipeline
	// Module is the Go module of the sources, such as example.com/fleet: in a
	// checkout of it the apps are those of the checkout. May be empty.
	Module string
	// Root is the folder of the sources elsewhere, such as SourceFolder("."). The
	// project roots of the apps are relative to it. The environment variable
	// HARMONY_NAME_ROOT comes before both. Without any, the current folder is it.
	Root string
}

// App is one app that a plugin offers.
type App struct {
	// Spec describes the app. Its chart may be left out where Chart makes it.
	Spec protocol.AppSpec
	// Chart makes the app's chart for an image; nil for a chart from elsewhere.
	// The image of a plan may have no digest yet.
	Chart func(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (Chart, error)
}

// Chart is a Helm chart that a plugin makes: of Kubernetes objects by package
// [github.com/nationtech/harmony/pkg/appkit/chart], or in any other way.
type Chart interface {
	// Write writes the chart below dir, a folder or a .tgz, and returns its Path and
	// name, and where its values take the Image: nowhere, when the chart has it. The
	// chart is the app's that is named.
	Write(dir, app string) (protocol.ChartRef, error)
}

// Streams are what a plugin reads and writes: those of the process in main.
type Streams struct {
	// In is stdin.
	In io.Reader
	// Out gets the answer, as documents.
	Out io.Writer
	// Err gets messages for people.
	Err io.Writer
}

// Main answers what the arguments ask, those after the program's name, and
// returns the exit status.
func (p Plugin) Main(ctx context.Context, streams Streams, args []string) int {
	out := protocol.NewWriter(streams.Out)
	err := p.answer(ctx, streams, out, args)
	if err == nil {
		return protocol.ExitOK
	}
	plain.Tell(streams.Err, err)
	failure := protocol.FailureOf(protocol.Metadata{}, "app", "", err)
	if len(args) > 0 && args[0] == "chart" {
		failure.Stage = "publish"
	}
	if err := out.WriteSpec(failure); err != nil {
		plain.Tell(streams.Err, err)
	}
	return protocol.ExitCode(err)
}

func (p Plugin) answer(ctx context.Context, streams Streams, out *protocol.Writer, args []string) error {
	if len(args) == 0 {
		args = []string{"help"}
	}
	if isHandedOver(args[0]) {
		return p.handOver(args)
	}
	switch args[0] {
	case "help", "-h", "--help":
		return p.help(streams.Out)
	case "describe":
		return out.WriteSpec(p.info())
	case "version":
		_, err := fmt.Fprintln(streams.Out, p.Version)
		return err
	case "apps":
		return p.apps(out, args[1:])
	case "chart":
		return p.chart(ctx, streams.In, out, args[1:])
	}
	return protocol.Invalid("no command %q", args[0]).WithHint("see 'harmony-%s help'", p.Name)
}

func (p Plugin) help(out io.Writer) error {
	_, err := fmt.Fprintf(out, `harmony-%[1]s %[2]s: the apps %[3]s
%[4]s
Commands of harmony, with these apps from any folder:
  %[5]s
for example
  harmony %[1]s release --all
  harmony %[1]s release --from-tag %[6]s-v1.4.0

What harmony asks: describe, apps, chart, version.
The sources are those of %[7]s, else those around the current
folder, else those that this program was built from.
`, p.Name, p.Version, strings.Join(p.names(), ", "), p.Description, strings.Join(handedOver[:], ", "), append(p.names(), "app")[0], p.rootVariable())
	return err
}

func (p Plugin) info() protocol.PluginInfo {
	return protocol.PluginInfo{
		Metadata:    protocol.Metadata{Name: p.Name, Version: p.Version},
		Protocol:    protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax},
		Description: p.Description,
		Apps:        p.names(),
		Consumes:    []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef},
		Produces:    []protocol.Kind{protocol.KindAppSpec, protocol.KindChartRef},
	}
}

func (p Plugin) names() []string {
	names := make([]string, len(p.Apps))
	for i, app := range p.Apps {
		names[i] = app.Spec.Name
	}
	return names
}

func (p Plugin) app(name string) (App, error) {
	i := slices.Index(p.names(), name)
	if i < 0 {
		return App{}, protocol.Invalid("harmony-%s has no app %q (has %s)", p.Name, name, strings.Join(p.names(), ", "))
	}
	return p.Apps[i], nil
}

// apps writes the topologies, the pipelines and the AppSpecs, whose project root
// is made absolute.
func (p Plugin) apps(out *protocol.Writer, names []string) error {
	if len(names) == 0 {
		names = p.names()
	}
	root, err := p.root()
	if err != nil {
		return err
	}
	if err := errors.Join(writeAll(out, p.Topologies), writeAll(out, p.Pipelines)); err != nil {
		return err
	}
	for _, name := range names {
		app, err := p.app(name)
		if err != nil {
			return err
		}
		spec := app.Spec
		if app.Chart != nil && spec.Chart.Path == "" && spec.Chart.Builder == nil && spec.Chart.Workload == nil {
			spec.Chart.Builder = &protocol.ChartBuilder{Plugin: "harmony-" + p.Name}
		}
		if err := spec.Validate(); err != nil {
			return protocol.Invalid("app %q: %w", name, err)
		}
		if !filepath.IsAbs(spec.ProjectRoot) {
			spec.ProjectRoot = filepath.Join(root, spec.ProjectRoot)
		}
		if err := out.WriteSpec(spec); err != nil {
			return err
		}
	}
	return nil
}

func writeAll[S interface {
	protocol.Spec
	Validate() error
}](out *protocol.Writer, specs []S) error {
	for _, s := range specs {
		if err := s.Validate(); err != nil {
			return protocol.Invalid("%s %q: %w", s.DocumentKind(), s.Identity().Name, err)
		}
		if err := out.WriteSpec(s); err != nil {
			return err
		}
	}
	return nil
}

func (p Plugin) chart(ctx context.Context, in io.Reader, out *protocol.Writer, args []string) error {
	var help bytes.Buffer
	flags := flag.NewFlagSet("chart", flag.ContinueOnError)
	flags.SetOutput(&help)
	dir := flags.String("output", "", "the folder to write the chart's folder into")
	if err := flags.Parse(args); err != nil {
		return protocol.Invalid("%s", strings.TrimSpace(help.String()))
	}
	if *dir == "" || flags.NArg() > 0 {
		return protocol.Invalid("chart takes --output DIR, and AppSpec and ImageRef on stdin")
	}
	spec, image, err := read(in)
	if err != nil {
		return err
	}
	app, err := p.app(spec.Name)
	if err != nil {
		return err
	}
	if app.Chart == nil {
		return protocol.Unsupported("harmony-%s makes no chart for %s", p.Name, spec.Name)
	}
	made, err := app.Chart(ctx, spec, image)
	if err != nil {
		return fmt.Errorf("chart of %s: %w", spec.Name, err)
	}
	ref, err := made.Write(*dir, spec.Name)
	if err != nil {
		return fmt.Errorf("chart of %s: %w", spec.Name, err)
	}
	ref.Metadata, ref.ChartVersion = spec.Metadata, spec.Version
	return out.WriteSpec(ref)
}

// read takes the last AppSpec and ImageRef of a stream.
func read(in io.Reader) (app protocol.AppSpec, image protocol.ImageRef, err error) {
	reader := protocol.NewReader(in)
	for {
		document, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			if app.Name == "" || image.Name != app.Name {
				return app, image, protocol.Invalid("stdin has no AppSpec, or no ImageRef of its app")
			}
			return app, image, nil
		case err != nil:
			return app, image, protocol.Invalid("stdin: %w", err)
		case !document.Known():
		case document.Kind == protocol.KindAppSpec:
			app, err = protocol.Decode[protocol.AppSpec](document)
		case document.Kind == protocol.KindImageRef:
			image, err = protocol.Decode[protocol.ImageRef](document)
		}
		if err != nil {
			return app, image, protocol.Invalid("stdin: %w", err)
		}
	}
}
