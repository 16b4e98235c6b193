package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Command is the command of harmony-chart that answers what charts are made from.
func Command() *cobra.Command {
	return &cobra.Command{
		Use: chart.InputsCommand, Short: "List what the charts of AppSpecs on stdin are made from, as JSON", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := json.NewEncoder(cmd.OutOrStdout())
			for documents := protocol.NewReader(cmd.InOrStdin()); ; {
				document, err := documents.Next()
				if errors.Is(err, io.EOF) {
					return nil
				}
				var app protocol.AppSpec
				if err == nil {
					app, err = protocol.Decode[protocol.AppSpec](document)
				}
				if err != nil {
					return protocol.Invalid("%w", err)
				}
				answer, err := Inputs(cmd.Context(), app)
				if err != nil {
					answer.Error = err.Error()
				}
				if err := errors.Join(cmd.Context().Err(), out.Encode(answer)); err != nil {
					return err
				}
			}
		},
	}
}

// Inputs are what the app's chart is made from: the files as they are packaged, but with
// the same version and image whatever those are, and the values of each target. A chart
// that is generated follows from the AppSpec, and one that an app plugin makes from that
// plugin: of these, only the values are inputs.
func Inputs(ctx context.Context, app protocol.AppSpec) (chart.Inputs, error) {
	made := chart.Inputs{App: app.Name}
	if app.Chart.Path != "" {
		if err := chartInputs(ctx, app, &made); err != nil {
			return made, err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(app.Targets)) {
		set, err := values.StandIns(app, target) // whose digest is that of the ciphertext
		if err != nil {
			return made, err
		}
		made.Items = append(made.Items, chart.Input{Kind: "values of target", Name: target, Value: set.Digest})
		for _, name := range app.Targets[target].ValuesFiles {
			made.Paths = append(made.Paths, filepath.Join(app.ProjectRoot, app.Chart.Path, name), filepath.Join(app.ProjectRoot, name))
		}
	}
	return made, nil
}

func chartInputs(ctx context.Context, app protocol.AppSpec, made *chart.Inputs) error {
	path := filepath.Join(app.ProjectRoot, app.Chart.Path)
	source, err := Read(ctx, path)
	if err != nil {
		return err
	}
	folder := true
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		folder = false
		made.Paths = append(made.Paths, path)
	}
	files := tree(source.Files)
	if folder {
		made.Paths = append(made.Paths, filepath.Join(path, ".helmignore"))
		for _, name := range files.names() {
			made.Paths = append(made.Paths, filepath.Join(path, filepath.FromSlash(name)))
		}
	}
	app.Version = "0.0.0"
	image := protocol.ImageRef{Metadata: app.Metadata, Registry: "registry.invalid", Repository: app.Name, Tag: "0.0.0", Digest: "sha256:" + strings.Repeat("0", 64)}
	if app.Image.IsNone() {
		image = protocol.ImageRef{Metadata: app.Metadata}
	}
	source.Image, source.Images, image.Images = app.Chart.Image, map[string]protocol.ImagePlaces{}, map[string]protocol.ImageRef{}
	for _, name := range app.ImageNames() {
		further := image
		further.Images, further.Repository = nil, app.ForImage(name).Name
		source.Images[name], image.Images[name] = app.Images[name].Chart, further
	}
	release := packing{app: app, image: image, name: source.Name}
	images := release.images(source)
	release.others = images[1:]
	if err := release.identify(files); err != nil {
		return err
	}
	if files, err = release.with(images[0]); err != nil {
		return err
	}
	if slices.ContainsFunc(images, release.isSearched) {
		// A chart in which an image finds no place is no error here, but one of its release.
		if made, err := release.draft(ctx, source); err == nil {
			files = made.files
		}
	}
	for _, name := range files.names() {
		sum := sha256.Sum256(files[name])
		made.Items = append(made.Items, chart.Input{Kind: "chart file", Name: name, Value: hex.EncodeToString(sum[:])})
	}
	return nil
}
