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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/pkg/protocol"
)

// renderTime is how long the templates of a chart may take for one set of
// values. A template can loop for ever.
const renderTime = 30 * time.Second

// pinTime is how long all renderings may take that pin the images of a chart.
const pinTime = 5 * time.Minute

// kubeVersion is what templates see as the cluster's version: no cluster is
// asked, and Helm's own default is years old.
const kubeVersion = "v1.35.0"

type variant struct {
	name   string // how an error calls it
	values map[string]any
	// encrypted are the values files whose secrets are replaced by stand-ins.
	encrypted []string
}

// variants are the chart's defaults, and over them the values of each target.
func variants(app protocol.AppSpec) ([]variant, error) {
	all := []variant{{name: "the default values", values: map[string]any{}}}
	for _, target := range slices.Sorted(maps.Keys(app.Targets)) {
		if err := checkValuesFiles(app, target); err != nil {
			return nil, protocol.Invalid("values of target %q: %w", target, err)
		}
		set, err := values.StandIns(app, target) // a key is only needed where the target is deployed
		if err != nil {
			return nil, err
		}
		all = append(all, variant{fmt.Sprintf("the values of target %q", target), set.All, set.Encrypted})
	}
	return all, nil
}

// checkValuesFiles refuses files that are too large, or that have a key twice.
// One that is missing is for [values.StandIns] to report.
func checkValuesFiles(app protocol.AppSpec, target string) error {
	for _, name := range app.Targets[target].ValuesFiles {
		for _, folder := range []string{app.Chart.Path, ""} {
			path := filepath.Join(app.ProjectRoot, folder, name)
			info, err := os.Stat(path)
			switch {
			case err != nil || !filepath.IsLocal(name):
				continue
			case info.Size() > loader.MaxDecompressedFileSize:
				return fmt.Errorf("%s has %d bytes; Helm takes %d at most", name, info.Size(), loader.MaxDecompressedFileSize)
			case !info.Mode().IsRegular():
				return fmt.Errorf("%s is not a regular file", name)
			}
			data, err := os.ReadFile(path)
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

// verdict is what rendering a chart told.
type verdict struct {
	warnings []string
	// proven is with how many sets of values containers take the image.
	proven int
}

// checkRendered renders the chart with every set of values that a deploy could
// use, and checks the objects. What only a cluster can answer is a warning:
// a deploy renders the chart again.
func (p *packing) checkRendered(ctx context.Context, source Source) (told verdict, err error) {
	for i, v := range p.variants {
		err := p.checkVariant(ctx, source, v)
		missing, isMissing := errors.AsType[file.MissingError](err)
		_, isUnused := errors.AsType[file.UnusedError](err)
		switch {
		case err == nil:
			told.proven++
		case i == 0 && len(p.variants) > 1 && (isMissing || isUnused):
			// The targets give what the defaults leave open or switch off.
		case isMissing && missing.Asked:
			told.warnings = append(told.warnings, fmt.Sprintf("chart %s cannot be checked with %s before it is deployed, because a template looks objects up in the cluster: %s", source.Name, v.name, missing.Text))
		case len(v.encrypted) > 0 && !isUnused && ctx.Err() == nil:
			told.warnings = append(told.warnings, fmt.Sprintf("chart %s cannot be checked with %s before it is deployed, because %s is encrypted and stand-ins for its secrets do not fit: %v",
				source.Name, v.name, strings.Join(v.encrypted, ", "), err))
		default:
			return told, fmt.Errorf("with %s: %w", v.name, err)
		}
	}
	return told, nil
}

func (p *packing) checkVariant(ctx context.Context, source Source, v variant) error {
	bounded := &boundedEngine{ctx: ctx}
	rendered, err := renderVariant(p.app, source.Files, v, bounded)
	if err != nil {
		return err
	}
	loaded, err := loader.LoadFiles(tree(source.Files).buffered())
	if err != nil {
		return err
	}
	if err := checkObjects(rendered); err != nil {
		return err
	}
	if err := p.uses(rendered, loaded.Name(), source); err != nil {
		return err
	}
	return checkSize(p.app, loaded, v.values, bounded.files)
}

// renderVariant renders a chart with a set of values, as the first install of the app.
func renderVariant(app protocol.AppSpec, files tree, v variant, bounded *boundedEngine) (file.Rendered, error) {
	loaded, err := loader.LoadFiles(files.buffered()) // rendering changes it
	if err != nil {
		return file.Rendered{}, err
	}
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return file.Rendered{}, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	release := chartutil.ReleaseOptions{Name: app.Name, Namespace: "default", Revision: 1, IsInstall: true}
	return file.Render(bounded, loaded, v.values, release, capabilities)
}

// boundedEngine runs templates without a cluster, for a limited time. Helm's
// engine cannot be stopped: what runs too long is left behind until the process
// ends.
type boundedEngine struct {
	ctx   context.Context
	files map[string]string
}

// Render implements [file.Engine].
func (b *boundedEngine) Render(c *chart.Chart, values chartutil.Values) (map[string]string, error) {
	ctx, cancel := context.WithTimeoutCause(b.ctx, renderTime, fmt.Errorf("the templates take over %s", renderTime))
	defer cancel()
	done := make(chan error, 1)
	asked := new(bool)
	go func() {
		var err error
		b.files, err = engine.RenderWithClientProvider(c, values, noCluster{asked: asked})
		done <- err
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case err := <-done:
		return b.files, templateError(c, err, *asked)
	}
}

// templateError distinguishes the templates' own required and fail, which the
// engine names so, from errors in the templates.
func templateError(c *chart.Chart, err error, asked bool) error {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), c.Name()+"/templates/", "templates/")
	if strings.HasPrefix(text, "execution error at (") {
		return file.MissingError{Text: text, Asked: asked}
	}
	return errors.New(text)
}

// noCluster answers a template's lookup as Helm does where there is no cluster:
// nothing is there. It remembers that it was asked.
type noCluster struct {
	dynamic.NamespaceableResourceInterface
	asked *bool
}

// GetClientFor implements Helm's engine.ClientProvider.
func (n noCluster) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	*n.asked = true
	return n, true, nil
}

// Namespace implements [dynamic.NamespaceableResourceInterface].
func (n noCluster) Namespace(string) dynamic.ResourceInterface { return n }

// Get implements [dynamic.ResourceInterface].
func (noCluster) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
}

// List implements [dynamic.ResourceInterface].
func (noCluster) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
}
