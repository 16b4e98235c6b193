package protocol

import "fmt"

// EdgeDevice is a device, or a group of them, that pulls its desired state as an
// OCI artifact. Exactly one of Device and Group is set.
type EdgeDevice struct {
	// Device and Group are names: lower-case letters, digits and dashes.
	Device string `json:"device,omitempty"`
	// Group is the group of devices that get the release.
	Group string `json:"group,omitempty"`
	// Namespace is where the app runs on the devices.
	Namespace string `json:"namespace"`
	// Form is what the artifact holds; manifests when empty.
	Form EdgeForm `json:"form,omitempty"`
	// Registry holds the artifacts: host and prefix, without a scheme. It is the
	// URL of the topology's OCIRegistry with /edge when empty.
	Registry string `json:"registry,omitempty"`
	// Insecure allows plain http for a registry named here that is not on the
	// loopback.
	Insecure bool `json:"insecure,omitempty"`
	// KubeVersion is the Kubernetes version of the devices, which charts are
	// rendered for: 1.34.0. For manifests; that of harmony's libraries when empty.
	KubeVersion string `json:"kubeVersion,omitempty"`
	// SecretRef names a Secret in Namespace on the devices with the credentials
	// for the chart's registry, for helmRelease.
	SecretRef string `json:"secretRef,omitempty"`
	// Reports say where devices tell what became of it.
	Reports *DeviceReports `json:"reports,omitempty"`
	// Rings are parts of the group that get a release one after the other: shares of
	// the devices, such as [1%, 10%, 100%], or labels. All at once when absent.
	Rings []DeviceRing `json:"rings,omitempty"`
	// AdvanceWhen is what a ring must report before the next one is opened; that all of
	// its devices are ready when absent.
	AdvanceWhen *AdvanceWhen `json:"advanceWhen,omitempty"`
}

// EdgeForm is what the artifact of an edge device holds.
type EdgeForm string

// The forms: the chart rendered to objects with images pinned by digest, for
// whatever applies them; or a HelmRelease with an OCIRepository that pins the
// chart, for Flux's helm-controller.
const (
	EdgeManifests   EdgeForm = "manifests"
	EdgeHelmRelease EdgeForm = "helmRelease"
)

// DeviceReports say where devices report, and what a deploy makes of it.
type DeviceReports struct {
	// Registry holds the reports: host and prefix, without a scheme. It is the URL
	// of the topology's OCIRegistry with /edge-reports when empty.
	Registry string `json:"registry,omitempty"`
	// Devices are the devices of a group; those that have ever reported when
	// empty.
	Devices []string `json:"devices,omitempty"`
	// Await is how long a deploy waits until every device reports to be ready; it
	// does not wait when zero.
	Await Duration `json:"await,omitempty"`
	// OfflineAfter is how old the last report of a device is when it counts as offline:
	// it is not waited for. Never when zero; 15m where there are rings.
	OfflineAfter Duration `json:"offlineAfter,omitempty"`
	// RequestsPerSecond is how often one deploy of an app asks a registry, of state or of
	// reports, in a second; no limit when zero.
	RequestsPerSecond int `json:"requestsPerSecond,omitempty"`
	// Disabled says that these devices do not report.
	Disabled bool `json:"disabled,omitempty"`
}

// FormOr is the form, with its default.
func (e EdgeDevice) FormOr() EdgeForm {
	if e.Form == "" {
		return EdgeManifests
	}
	return e.Form
}

var kubeVersionPattern = newPattern(`^v?[0-9]+\.[0-9]+(\.[0-9]+)?$`)

func (e EdgeDevice) validate(p *problems, field string) {
	p.must(e.Device != "" || e.Group != "", field, "needs device or group")
	p.must(e.Device == "" || e.Group == "", field, "has both device and group; remove one")
	for at, name := range map[string]string{".device": e.Device, ".group": e.Group} {
		if name != "" {
			p.name(field+at, "a", name)
		}
	}
	if !p.noPreview(field+".namespace", e.Namespace, "devices run one release, whatever the branch") {
		p.namespace(field+".namespace", e.Namespace)
	}
	p.among(field+".form", string(e.Form), string(EdgeManifests), string(EdgeHelmRelease))
	p.registry(field+".registry", e.Registry)
	p.must(e.KubeVersion == "" || kubeVersionPattern.MatchString(e.KubeVersion), field+".kubeVersion", "%q is not a version of Kubernetes such as 1.34.0", e.KubeVersion)
	p.must(e.SecretRef == "" || labelPattern.MatchString(e.SecretRef), field+".secretRef", "%q is not the name of a Secret", e.SecretRef)
	if e.Reports != nil {
		e.Reports.validate(p, field+".reports", e.Group != "")
	}
	e.validateRings(p, field)
}

func (r DeviceReports) validate(p *problems, field string, group bool) {
	p.registry(field+".registry", r.Registry)
	p.must(len(r.Devices) == 0 || group, field+".devices", "is for a group")
	for i, name := range r.Devices {
		at := fmt.Sprintf("%s.devices[%d]", field, i)
		p.name(at, "a device's", name)
		p.once(at, r.Devices, i)
	}
	p.notNegative(field+".await", int64(r.Await))
	p.notNegative(field+".offlineAfter", int64(r.OfflineAfter))
	p.notNegative(field+".requestsPerSecond", int64(r.RequestsPerSecond))
	p.must(r.OfflineAfter == 0 || group, field+".offlineAfter", "is for a group")
	p.must(!r.Disabled || r.Await == 0 && len(r.Devices) == 0, field+".disabled", "leaves nothing to wait for: remove it, or await and devices")
}

// PublishedState is where the desired state of an edge device lies, and what the
// devices have reported of it.
type PublishedState struct {
	// URL is the artifact's OCI repository, with the tag that devices follow:
	// oci://registry.example.com/fleet/edge/groups/shops/operator:latest.
	URL string `json:"url"`
	// Digest is that of the artifact: sha256:…; empty in a dry run that does not
	// know it yet.
	Digest string `json:"digest"`
	// Image and Chart are the digests that the state asks for, proven or not.
	Image string `json:"image"`
	// Images are the digests of the app's further images, by their names.
	Images map[string]string `json:"images,omitempty"`
	// Chart is the digest of the chart's manifest.
	Chart string `json:"chart"`
	// Unchanged is true when the same was published before.
	Unchanged bool `json:"unchanged,omitempty"`
	// Tombstone is true when an uninstall published this state: devices remove the app.
	Tombstone bool `json:"tombstone,omitempty"`
	// Ready of Total known devices report that they run this state and are healthy; of
	// a tombstone, that the app is gone. Both are zero where nothing reports.
	Ready int `json:"ready"`
	// Total is how many devices the group has.
	Total int `json:"total"`
	// Rings are those of the group, in order, and Waits what the next one waits for.
	Rings []RingState `json:"rings,omitempty"`
	// Waits is empty when all rings are open.
	Waits string `json:"waits,omitempty"`
	// Devices are the devices, those that are not ready first; at most 500.
	Devices []DeviceReport `json:"devices,omitempty"`
}

// DeviceReport is what one device has reported last.
type DeviceReport struct {
	// Device is the device's name.
	Device string `json:"device"`
	// State is what became of the release there.
	State DeviceState `json:"state"`
	// Digest is that of the state that the report is about.
	Digest string `json:"digest,omitempty"`
	// Time is when it was made, by the device's clock, in RFC 3339.
	Time string `json:"time,omitempty"`
	// Message is the device's own, for people.
	Message string `json:"message,omitempty"`
}

// DeviceState is how far a device is with its desired state.
type DeviceState string

// The states: the device runs what is wanted and is healthy; it is at it; it
// failed; it reports of another state than the one that is published; it has
// never reported; it has applied a tombstone, and the app is gone from it; it has not
// reported for longer than the target allows.
const (
	DeviceReady       DeviceState = "ready"
	DeviceProgressing DeviceState = "progressing"
	DeviceFailed      DeviceState = "failed"
	DeviceBehind      DeviceState = "behind"
	DeviceSilent      DeviceState = "silent"
	DeviceGone        DeviceState = "gone"
	DeviceOffline     DeviceState = "offline"
)
