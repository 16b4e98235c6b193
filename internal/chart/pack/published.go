package pack

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/chart/upstream"
	"github.com/nationtech/harmony/pkg/protocol"
)

// packPublished is a chart that others publish, byte for byte as harmony.lock has it,
// or with its images pinned in its values. It is rendered with the values of each
// target, and its objects are checked.
func packPublished(ctx context.Context, app protocol.AppSpec) (chart.Chart, error) {
	original, err := upstream.Fetch(ctx, app.Chart)
	if err != nil {
		return chart.Chart{}, err
	}
	p, err := published(ctx, app, original)
	if err != nil {
		return chart.Chart{}, err
	}
	packed := chart.Chart{
		Name: p.metadata.Name, Version: p.metadata.Version, Annotations: annotations(p.metadata),
		Archive: original, Warnings: p.checked.warnings,
	}
	if app.Chart.PinImages {
		if err := p.pin(ctx, app.Chart.Locked.Images); err != nil {
			return chart.Chart{}, err
		}
		if packed.Archive, err = archive(packed.Name, p.files); err != nil {
			return chart.Chart{}, err
		}
		packed.Pinned, packed.Tag = true, pinTitle(packed.Version, packed.Digest())
	}
	packed.Config, err = json.Marshal(p.metadata)
	return packed, err
}

// CheckPublished refuses an archive that is not the chart and version that the source
// names, or that Helm would not take.
func CheckPublished(source protocol.ChartSource, archive []byte) error {
	files, err := unpackPublished(source, archive)
	if err != nil {
		return err
	}
	if _, err := load(files); err != nil {
		return fmt.Errorf("%s: %w", upstream.Title(source), err)
	}
	return nil
}

func unpackPublished(source protocol.ChartSource, archive []byte) (tree, error) {
	files, err := unpack(archive, newBudget())
	if err == nil {
		err = checkIdentity(files[chartFile])
	}
	if err == nil {
		err = isNamed(files[chartFile], source)
	}
	if err != nil {
		return nil, protocol.Invalid("%s: %w", upstream.Title(source), err)
	}
	return files, nil
}

// isNamed refuses a Chart.yaml of another chart or version than the source names.
func isNamed(data []byte, source protocol.ChartSource) error {
	document, err := parseYAML(data)
	if err != nil {
		return err
	}
	for field, holds := range map[string]func(string) bool{
		"name":    func(name string) bool { return name == source.PublishedName() },
		"version": func(version string) bool { return sameVersion(version, source.Version) },
	} {
		node := at(document.Content[0], field)
		switch {
		case node == nil:
			return fmt.Errorf("%s has no %s", chartFile, field)
		case !holds(node.Value):
			return badField(node, "%s is %q", field, node.Value)
		}
	}
	return nil
}
