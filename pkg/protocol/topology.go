package protocol

import (
	"maps"
	"slices"
	"strings"
)

// Topology is a named choice of one adapter per capability, and the targets of
// a deploy.
type Topology struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`

	// ContainerBuilder makes images.
	ContainerBuilder *Provider `json:"containerBuilder,omitempty"`
	// OCIRegistry takes images.
	OCIRegistry *Provider `json:"ociRegistry,omitempty"`
	// HelmRegistry takes charts.
	HelmRegistry *Provider `json:"helmRegistry,omitempty"`
	// ContinuousDelivery brings apps to targets.
	ContinuousDelivery *Provider `json:"continuousDelivery,omitempty"`
	// Smoke may name another plugin for the smoke stage.
	Smoke *Provider `json:"smoke,omitempty"`
	// Monitoring watches deployed apps.
	Monitoring *Provider `json:"monitoring,omitempty"`
	// Capabilities are further ones, by the names that the plugins of their stages
	// tell: BackupStore.
	Capabilities map[string]Provider `json:"capabilities,omitempty"`
	// Targets are where a deploy goes, by name.
	Targets map[string]Target `json:"targets,omitempty"`
}

// DocumentKind implements [Spec].
func (Topology) DocumentKind() Kind { return KindTopology }

// The names of the capabilities that have a field of their own in a topology.
const (
	CapabilityContainerBuilder   = "ContainerBuilder"
	CapabilityOCIRegistry        = "OCIRegistry"
	CapabilityHelmRegistry       = "HelmRegistry"
	CapabilityContinuousDelivery = "ContinuousDelivery"
	CapabilityMonitoring         = "Monitoring"
)

// ProvidedCapability is one capability that a topology has.
type ProvidedCapability struct {
	// Capability is its name: ContainerBuilder.
	Capability string
	// Provider is what provides it.
	Provider Provider
}

// Provided lists the capabilities that the topology has, in the order of a
// release, the further ones last and by name.
func (t Topology) Provided() []ProvidedCapability {
	var list []ProvidedCapability
	for _, c := range t.own() {
		if c.provider != nil {
			list = append(list, ProvidedCapability{c.name, *c.provider})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Capabilities)) {
		list = append(list, ProvidedCapability{name, t.Capabilities[name]})
	}
	return list
}

// ownCapability is a capability that has a field of its own in a topology.
type ownCapability struct {
	name, field string
	provider    *Provider
}

func (t Topology) own() []ownCapability {
	return []ownCapability{
		{CapabilityContainerBuilder, "containerBuilder", t.ContainerBuilder},
		{CapabilityOCIRegistry, "ociRegistry", t.OCIRegistry},
		{CapabilityHelmRegistry, "helmRegistry", t.HelmRegistry},
		{CapabilityContinuousDelivery, "continuousDelivery", t.ContinuousDelivery},
		{CapabilityMonitoring, "monitoring", t.Monitoring},
	}
}

// Provider says by which adapter a topology provides a capability.
type Provider struct {
	// Adapter is the adapter's name: daemonless, oci, helm, …
	Adapter string `json:"adapter,omitempty"`
	// Plugin is the plugin that carries out the stage instead of the suite's own:
	// harmony-deploy-spinnaker.
	Plugin string `json:"plugin,omitempty"`
	// URL is a registry's host and prefix, without a scheme:
	// registry.example.com/fleet.
	URL string `json:"url,omitempty"`
	// Insecure allows plain http for a registry that is not on the loopback.
	Insecure bool `json:"insecure,omitempty"`
	// TrustInputs says which images of the same input an ociRegistry vouches for,
	// so that a release may take them instead of building: see [Provider.Vouched].
	TrustInputs string `json:"trustInputs,omitempty"`
	// Settings are handed to the adapter as they are. No secrets.
	Settings map[string]any `json:"settings,omitempty"`
}

// TrustOwn is the default of Provider.TrustInputs: a release takes only images
// that this machine built itself.
const TrustOwn = "own"

// Vouched is the repository, without its registry, that only CI writes to: a
// release takes the images of the same input in it. It is empty for [TrustOwn].
func (r Provider) Vouched() (string, error) {
	host, _, _ := strings.Cut(r.URL, "/")
	at, inside := strings.CutPrefix(r.TrustInputs, host+"/")
	first, _, path := strings.Cut(at, "/")
	switch {
	case r.TrustInputs == "" || r.TrustInputs == TrustOwn:
		return "", nil
	case r.TrustInputs == "key" || strings.HasPrefix(r.TrustInputs, "key:"):
		return "", Unsupported("ociRegistry.trustInputs: %s: this version does not verify signatures", r.TrustInputs).
			WithHint("use own, or a repository of %s that only CI writes to", host)
	case !inside && (!path || strings.ContainsAny(first, ".:") || first == "localhost") || !repositoryPattern.MatchString(at):
		return "", Invalid("ociRegistry.trustInputs: %q must be own or a repository of the registry, such as %s/ci/inputs", r.TrustInputs, host)
	}
	return at, nil
}

// What a release does with a target whose smoke checks failed.
const (
	// SmokeRollback takes the target back to the release before.
	SmokeRollback = "rollback"
	// SmokeHalt leaves it as it is.
	SmokeHalt = "halt"
)

// Irreversible is the annotation, with the value true, by which a chart, in its
// Chart.yaml, or an object that it renders, such as the Job of a migration, says that
// the release before cannot come back.
const Irreversible = "harmony.nationtech.io/irreversible"

// Target is where a deploy goes. Exactly one of InCluster, MultiCluster and
// EdgeDevice is set.
type Target struct {
	// InCluster is one cluster.
	InCluster *InCluster `json:"inCluster,omitempty"`
	// MultiCluster is several clusters, in waves.
	MultiCluster *MultiCluster `json:"multiCluster,omitempty"`
	// EdgeDevice is a group of devices that fetch what they run.
	EdgeDevice *EdgeDevice `json:"edgeDevice,omitempty"`
	// NoDowngrade says whether a deploy refuses to put an older version of an app in
	// the place of a newer one; see [Topology.RefusesDowngrade] for its default.
	NoDowngrade *bool `json:"noDowngrade,omitempty"`
	// OnSmokeFailure says what a release does with the target when a smoke check
	// failed there: [SmokeRollback], the default, or [SmokeHalt].
	OnSmokeFailure string `json:"onSmokeFailure,omitempty"`
}

// RefusesDowngrade reports whether a deploy to the target refuses to replace a newer
// version of an app by an older one. The target's noDowngrade decides; without it, the
// answer is yes in the topology ci and for a target called production.
func (t Topology) RefusesDowngrade(target string) bool {
	if set := t.Targets[target].NoDowngrade; set != nil {
		return *set
	}
	return t.Name == "ci" || target == "production"
}

// InCluster is one namespace of one cluster.
type InCluster struct {
	// Context is a context of the kubeconfig; the current one when empty.
	Context string `json:"context,omitempty"`
	// Namespace is created when absent. One with {branch}, and {app} where each app has
	// its own, is that of a preview: see [InCluster.NamespaceOf].
	Namespace string `json:"namespace"`
	// TTL is how long a preview lives after its last release: 72h.
	TTL Duration `json:"ttl,omitempty"`
	// Preview says which branch a preview is of; harmony fills it in.
	Preview *Preview `json:"preview,omitempty"`
}
