package pack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/pkg/protocol"
)

// renderTime is how long the templates of a chart may take for one set of
// values. A template can loop for ever.
const renderTime = 30 * time.Second

// kubeVersion is what templates see as the cluster's version: no cluster is
// asked, and Helm's own default is years old.
const kubeVersion = "v1.35.0"

// variant is one set of values that a chart is rendered with.
type variant struct {
	name   string // how an error calls it
	values map[string]any
}

// variants are the chart's defaults, and over them the values of each target.
func variants(app protocol.AppSpec) ([]variant, error) {
	all := []variant{{name: "the default values", values: map[string]any{}}}
	for _, target := range slices.Sorted(maps.Keys(app.Targets)) {
		if err := checkValuesFiles(app, target); err != nil {
			return nil, protocol.Invalid("values of target %q: %w", target, err)
		}
		merged, err := values.Of(app, target)
		if err != nil {
			return nil, err
		}
		all = append(all, variant{name: fmt.Sprintf("the values of target %q", target), values: merged})
	}
	return all, nil
}

// checkValuesFiles refuses files that are too large, or that say a thing twice.
// One that is not there is for [values.Of] to tell.
func checkValuesFiles(app protocol.AppSpec, target string) error {
	for _, name := range app.Targets[target].ValuesFiles {
		for _, folder := range []string{app.Chart.Path, ""} {
			file := filepath.Join(app.ProjectRoot, folder, name)
			info, err := os.Stat(file)
			if err != nil || !filepath.IsLocal(name) {
				continue
			}
			if info.Size() > loader.MaxDecompressedFileSize {
				return fmt.Errorf("%s has %d bytes; Helm takes %d at most", name, info.Size(), loader.MaxDecompressedFileSize)
			}
			if !info.Mode().IsRegular() {
				return fmt.Errorf("%s is not a regular file", name)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if _, err := parseYAML(data); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			break
		}
	}
	return nil
}

// checkRendered renders the chart with every set of values that a deploy could
// use, and looks at what comes out. What only a cluster can answer is a warning:
// a deploy renders the chart again.
func checkRendered(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, source Source) (warnings []string, err error) {
	all, err := variants(app)
	if err != nil {
		return nil, err
	}
	for i, v := range all {
		err := checkVariant(ctx, app, image, source, v)
		var missing missingError
		var unused unusedError
		switch isMissing := errors.As(err, &missing); {
		case err == nil:
		case i == 0 && len(all) > 1 && (isMissing || errors.As(err, &unused)):
			// The targets give what the defaults leave open or switch off.
		case isMissing && missing.asked:
			warnings = append(warnings, fmt.Sprintf("chart %s cannot be checked with %s before it is deployed, because a template looks objects up in the cluster: %s", source.Name, v.name, missing.text))
		default:
			return nil, fmt.Errorf("with %s: %w", v.name, err)
		}
	}
	return warnings, nil
}

func checkVariant(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, source Source, v variant) error {
	loaded, err := loader.LoadFiles(tree(source.Files).buffered()) // rendering changes it
	if err != nil {
		return err
	}
	rendered, err := render(ctx, app, loaded, v.values)
	if err != nil {
		return err
	}
	objects, err := parseObjects(rendered)
	if err != nil {
		return err
	}
	if err := checkObjects(objects); err != nil {
		return err
	}
	if err := checkImage(objects, source.Image, image); err != nil {
		return err
	}
	return checkSize(app, loaded, v.values, rendered)
}

// render is what Helm would make of the chart, by the template's path.
func render(ctx context.Context, app protocol.AppSpec, c *chart.Chart, over map[string]any) (map[string]string, error) {
	if err := chartutil.ProcessDependenciesWithMerge(c, over); err != nil {
		return nil, err
	}
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	release := chartutil.ReleaseOptions{Name: app.Name, Namespace: "default", Revision: 1, IsInstall: true}
	// Helm's own validation would open what a schema refers to.
	top, err := chartutil.ToRenderValuesWithSchemaValidation(c, over, release, capabilities, true)
	if err != nil {
		return nil, err
	}
	compiled := schemas{}
	if err := compileSchemas(c, compiled); err != nil {
		return nil, err
	}
	merged, err := top.Table("Values")
	if err != nil {
		return nil, err
	}
	if err := compiled.validate(c, merged); err != nil {
		return nil, err
	}
	rendered, err := execute(ctx, c, top)
	return withoutChartName(c, rendered), err
}

// execute runs the templates. The engine cannot be stopped: what runs too long
// is left behind until the process ends.
func execute(ctx context.Context, c *chart.Chart, top chartutil.Values) (map[string]string, error) {
	type result struct {
		rendered map[string]string
		err      error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, renderTime, fmt.Errorf("the templates take over %s", renderTime))
	defer cancel()
	done := make(chan result, 1)
	asked := new(bool)
	go func() {
		rendered, err := engine.RenderWithClientProvider(c, top, noCluster{asked: asked})
		done <- result{rendered, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		return r.rendered, templateError(c, r.err, *asked)
	}
}

// templateError tells the templates' own required and fail, which the engine
// names so, from what is wrong with the templates.
func templateError(c *chart.Chart, err error, asked bool) error {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), c.Name()+"/templates/", "templates/")
	if strings.HasPrefix(text, "execution error at (") {
		return missingError{text, asked}
	}
	return errors.New(text)
}

// withoutChartName gives templates the path that they have in the chart's
// folder, and leaves the notes out, which are not for the cluster.
func withoutChartName(c *chart.Chart, rendered map[string]string) map[string]string {
	made := make(map[string]string, len(rendered))
	for name, text := range rendered {
		if !strings.HasSuffix(name, "/NOTES.txt") {
			made[strings.TrimPrefix(name, c.Name()+"/")] = text
		}
	}
	return made
}
