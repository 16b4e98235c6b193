// Package helm delivers an app by Helm: it installs or upgrades a release in
// Helm's own storage, follows the rollout, and proves that the image runs.
//
// Nothing is remembered on the machine. Each call reads the release and
// what runs, and does what is missing. A release is written to under a Lease
// only, and Helm is told not to wait: a process that is killed leaves at most a
// revision that is pending, for the next one to mend.
package helm

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	openapi "k8s.io/kubectl/pkg/validation"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "helm"

// New makes the adapter. The flags are those of the command line;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		s, err := readSettings(env)
		return &adapter{delivery.Base{Unsupported: Name, Flags: flags, Env: env}, s}, err
	}
}

type adapter struct {
	delivery.Base
	settings options
}

type deployment struct {
	delivery.Call
	settings options
	config   *action.Configuration
	want     record
	// prover is nil where the image of a revision is not known.
	prover *proof.Prover
	// drifted names the objects of the last revision that were changed by others.
	drifted []string
	// pullSecret is to be made in the namespace; nil for none.
	pullSecret *corev1.Secret
	// adopted says who managed what is taken over; see claimed.
	adopted string
	claimed *claims
	// promote has Rollouts skip their steps, in a rollback.
	promote bool
}

// Deploy implements [capability.ContinuousDelivery]. The release has the app's
// name. An error of status protocol.ExitInvalid or protocol.ExitUnsupported
// means that nothing was changed.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.pullSecret, err = d.credentials(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.run(ctx, time.Now().Add(a.settings.timeout))
	return result, d.Explained(ctx, d.Conn, a.settings.timeout, err)
}

// prepare opens a deployment of an image and a chart.
func (a *adapter) prepare(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	if err := delivery.Published(a.Env, app, image, chart); err != nil {
		return nil, err
	}
	d.Image, d.Chart = image, chart
	set, err := values.Of(ctx, app, target)
	if err != nil {
		return nil, err
	}
	d.Use(set)
	d.want = record{chart: chart.Digest, image: image.Digest, images: marks.WriteImages(image.Images), values: set.Digest}
	d.prover = proof.NewProver(app.Name, image)
	return d, nil
}

// open makes a deployment that only reads the release; it sends nothing.
func (a *adapter) open(app protocol.AppSpec, target string) (*deployment, error) {
	call, err := a.Open(app, target)
	if err != nil {
		return nil, err
	}
	d := &deployment{Call: call, settings: a.settings, claimed: &claims{}}
	if registry := a.Env.Topology.OCIRegistry; registry != nil {
		d.Image.Insecure = registry.Insecure
	}
	d.config, err = newConfiguration(call.Cluster, func(warning string) { d.Say("warning", "%s", warning) })
	return d, err
}

func (d *deployment) result(outcome protocol.Outcome, revision int, before record) protocol.DeployResult {
	r := d.Result(Name, outcome)
	r.Revision, r.Image, r.Images, r.Chart = revision, d.Image.Digest, d.Image.ImageDigests(), d.Chart.Digest
	r.PreviousImage, r.PreviousChart = before.image, before.chart
	r.Adopted = cmp.Or(d.adopted, d.claimed.managers())
	return r
}

type options struct {
	// timeout bounds a deploy, rollout and all; a rollback has as much again.
	timeout time.Duration
	// maxHistory is how many revisions Helm keeps.
	maxHistory int
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
	// rollback goes back to the last good revision when a deploy fails.
	rollback bool
	// reportDrift leaves alone what somebody changed on the cluster, and reports it.
	reportDrift bool
	// crds is what is done with the CustomResourceDefinitions of a chart.
	crds crdPolicy
	// wait says what is waited for of objects that run no pods.
	wait rollout.Policies
	// tests runs the chart's tests, as helm test does.
	tests bool
	// namespaceLabels are those that the target's namespace must have.
	namespaceLabels map[string]string
	// pullSecret is the name of a Secret with the credentials for the image's
	// registry, to be made in the target's namespace; none when empty.
	pullSecret string
}

func readSettings(env capability.Environment) (options, error) {
	s := options{timeout: 5 * time.Minute, maxHistory: 10, rollback: true, crds: crdsCreate}
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"timeout":    settings.Duration(&s.timeout),
		"maxHistory": settings.Whole(&s.maxHistory, 1),
		"failFast":   settings.Bool(&s.failFast),
		"rollback":   settings.Bool(&s.rollback),
		"tests":      settings.Bool(&s.tests),
		"drift":      settings.Chosen(&s.reportDrift, "report", "repair"),
		"crds":       settings.OneOf(&s.crds, crdsCreate, crdsUpgrade, crdsSkip),
		"wait": func(path string, value any) (err error) {
			if s.wait, err = rollout.ReadPolicies(value); err != nil {
				err = protocol.Invalid("%s: %w", path, err)
			}
			return err
		},
		"namespaceLabels": settings.Labels(&s.namespaceLabels, "valid labels", func(name, value string) bool {
			return len(validation.IsQualifiedName(name)) == 0 && len(validation.IsValidLabelValue(value)) == 0
		}),
		"pullSecret": func(path string, value any) error {
			err := settings.Text(&s.pullSecret)(path, value)
			if err == nil && len(validation.IsDNS1123Subdomain(s.pullSecret)) > 0 {
				err = protocol.Invalid("%s: %s is not a valid Secret name", path, s.pullSecret)
			}
			return err
		},
	})
	return s, err
}

// newConfiguration is Helm's way to the cluster, for one deployment. The API
// server's warnings, such as one about a field that it does not know, go to
// warn.
func newConfiguration(c *delivery.Cluster, warn func(string)) (*action.Configuration, error) {
	config := &action.Configuration{}
	if err := config.Init(getter{c, warn}, c.Namespace, "secret", func(string, ...any) {}); err != nil {
		return nil, fmt.Errorf("context %q: %w", c.Context, err)
	}
	if client, ok := config.KubeClient.(*kube.Client); ok {
		client.Factory = factory{client.Factory}
	}
	config.Releases = storage.Init(driver.NewSecrets(&records{SecretInterface: c.Client.CoreV1().Secrets(c.Namespace)}))
	return config, nil
}

// getter is a cluster as Helm's RESTClientGetter.
type getter struct {
	*delivery.Cluster
	warn warnings
}

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.Discovery, nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.Mapper, nil }

func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig { return g.Loader }

// ToRESTConfig is the configuration of a client whose warnings are passed on.
func (g getter) ToRESTConfig() (*rest.Config, error) {
	config := rest.CopyConfig(g.Config)
	config.WarningHandlerWithContext = g.warn
	return config, nil
}

type warnings func(string)

// warningCode is that of HTTP for a miscellaneous warning that persists, the
// only one that API servers use.
const warningCode = 299

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code == warningCode && text != "" {
		w(text)
	}
}

// factory leaves out a step of Helm: it loads and parses the OpenAPI schema of
// every group in use, 150 ms of work, only to learn whether the server can
// validate fields. Every server since Kubernetes 1.27 can, and warns.
type factory struct{ kube.Factory }

func (factory) Validator(string) (openapi.Schema, error) { return openapi.NullSchema{}, nil }
