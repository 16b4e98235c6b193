// Package publish is what the adapters of the publish stage have in common.
package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Flags are those of harmony publish that not every stage has. The
// zero value is as without any.
type Flags struct {
	// Check only shows what the registries allow.
	Check bool
	// Overwrite moves a released version's tag to another digest.
	Overwrite bool
	// Explain says where the image goes in a chart that does not name the place.
	Explain bool
	// EjectChart is the folder to write a generated chart into, instead of
	// publishing anything.
	EjectChart string
}

// Bind adds the flags to those of a command.
func (f *Flags) Bind(set *pflag.FlagSet) {
	set.BoolVar(&f.Check, "check", false, "the same as the subcommand check")
	set.StringVar(&f.EjectChart, "eject-chart", "", "the same as the subcommand eject, into this `folder`")
	f.BindCharts(set)
}

// BindCharts adds the flags that are for charts too.
func (f *Flags) BindCharts(set *pflag.FlagSet) {
	set.BoolVar(&f.Overwrite, "overwrite", false, "move the tag of a released version to another digest")
	set.BoolVar(&f.Explain, "explain", false, "explain where the image goes in a chart, if chart.image does not name the place")
}

// MayReplace is nil when what is published as release under the name, which is
// held, may become another digest. Only a development version may, or whatever
// --overwrite is given for. f may be nil.
func (f *Flags) MayReplace(name, release, held, digest string) error {
	v, err := semver.StrictNewVersion(release)
	if f != nil && f.Overwrite || err == nil && version.IsDevelopment(*v) {
		return nil
	}
	refused := &protocol.Error{Code: protocol.ExitFailed, Err: &released{name, held, digest}}
	return refused.WithHint("a released version does not change: release a new version, or from the same source as %s; --overwrite replaces it for everybody", release)
}

// released is the error of a name that holds another digest.
type released struct{ name, held, digest string }

func (r *released) Error() string {
	return fmt.Sprintf("%s is already published with another digest: it is %s, this one is %s", r.name, r.held, r.digest)
}

// Moved is err, which MayReplace may have made for the app's image, with the
// app's image.ref in it: its tag has moved since the release.
func Moved(app protocol.AppSpec, err error) error {
	var other *released
	if app.Image.Ref == "" || !errors.As(err, &other) {
		return err
	}
	pinned, bad := app.Image.Existing()
	if bad != nil {
		return err
	}
	tag := pinned.Tag
	if pinned.Digest != "" || tag == "" { // it does not move: the file was changed
		return err
	}
	pinned.Digest = other.held
	moved := &protocol.Error{Code: protocol.ExitFailed, Message: "the tag of " + imageRef(app) + " has moved since version " + app.Version + " was released, or another image was named then", Err: err}
	return moved.WithHint("release a new version, or the image that was released: %s: %s; --overwrite replaces it for everybody", field(app), pinned)
}

// field is how messages call the field with the app's image.
func field(app protocol.AppSpec) string {
	return strings.TrimPrefix(app.ImageField(), "spec.") + ".ref"
}

// imageRef is the field with its value.
func imageRef(app protocol.AppSpec) string { return field(app) + " " + app.Image.Ref }

// ChartMoved is err, which MayReplace may have made for the chart of an app of which
// an image stays where it is: only the chart tells then that the tag of image.ref
// has moved.
func ChartMoved(app protocol.AppSpec, image protocol.ImageRef, err error) error {
	if !errors.As(err, new(*released)) {
		return err
	}
	for _, one := range app.ForEachImage() {
		held := image
		if _, name := protocol.SplitImage(one.Name); name != "" {
			held = image.Images[name]
		}
		if named, bad := one.Image.Existing(); one.Image.Stays() && bad == nil && named.Digest == "" {
			return mayHaveMoved(one, named, held, err)
		}
	}
	return err
}

func mayHaveMoved(app protocol.AppSpec, named, image protocol.ImageRef, err error) error {
	moved := &protocol.Error{Code: protocol.ExitFailed, Message: "the tag of " + imageRef(app) + " may have moved since version " + app.Version + " was released: it is " + image.Digest + " now", Err: err}
	return moved.WithHint("release a new version, or name the image that was released by its digest: %s: %s@sha256:…; the chart that is published has it", field(app), named)
}

// InPlace is the published image of an app whose image stays where it is.
func InPlace(env capability.Environment, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	if image.Digest == "" || image.Location != protocol.InRegistry {
		return protocol.ImageRef{}, protocol.Invalid("image %s of %s was not looked up in its registry", image, app.Name).WithHint("build it first")
	}
	image.Metadata, image.Unchanged, image.Planned = app.Metadata, true, env.DryRun
	return image, nil
}

// Pack packages the chart of an app, and sends its warnings as progress. Only a dry
// run packages one for an image that is planned. f may be nil.
func (f *Flags) Pack(ctx context.Context, env capability.Environment, pack chart.Packer, app protocol.AppSpec, image protocol.ImageRef) (chart.Chart, error) {
	planned := slices.ContainsFunc(image.All(), func(one protocol.ImageRef) bool { return one.Digest == "" || one.Planned })
	if planned && !(image.IsNone() && app.Image.IsNone()) && !env.DryRun {
		return chart.Chart{}, protocol.Invalid("image of %s is only planned: its chart cannot name it by digest", app.Name).WithHint("build and publish it first, without --dry-run")
	}
	packed, err := pack(ctx, app, image)
	for _, text := range packed.Warnings {
		env.Progress(protocol.Event{Metadata: app.Metadata, Phase: "warning", Message: text})
	}
	if err == nil && packed.Found && f != nil && f.Explain {
		explain(env, app, packed)
	}
	return packed, err
}

// explain tells the places that rendering the chart has shown.
func explain(env capability.Environment, app protocol.AppSpec, packed chart.Chart) {
	tell := func(what, field string, said, found protocol.ImagePlaces) {
		if !slices.Equal(found, said) {
			env.Progress(protocol.Event{Metadata: app.Metadata, Phase: protocol.PhaseExplain, Message: fmt.Sprintf("%s goes to %s, as rendering the chart shows; %s: %s", what, found.Places(), field, found)})
		}
	}
	tell("the image", "chart.image", app.Chart.Image, packed.Image)
	for _, name := range app.ImageNames() {
		tell("image "+name, "images."+name+".chart", app.Images[name].Chart, packed.Images[name])
	}
}
