// Package devices knows where the desired state of edge devices lies, and what
// the devices report of it. docs/edge-devices.md is the contract with those who
// set devices up.
//
// The state is an OCI artifact that devices pull. A report is an OCI artifact as
// well, of which only the manifest's annotations are read, under the device's
// name as the tag, in a repository of its own: who may report may not change
// what is wanted.
package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/time/rate"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The tags of a state: the one that devices follow, the one before it, the last
// tombstone, and how far a state has come through the rings. The versions that were
// published have tags as well, and so have the rings: [protocol.EdgeDevice.RingTags].
const (
	TagLatest   = "latest"
	TagPrevious = "previous"
	TagRemoved  = "removed"
	TagRollout  = "rollout"
)

// isRing reports the tag of a ring, whether there is such a ring by now or not.
func isRing(tag string) bool {
	n, ok := strings.CutPrefix(tag, "ring-")
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// IsVersion reports whether the tag of a state is that of a version.
func IsVersion(tag string) bool {
	return !isRing(tag) && !slices.Contains([]string{TagLatest, TagPrevious, TagRemoved, TagRollout}, tag)
}

// Place is where the state of one app lies, for a device or a group, and where
// it is reported on.
type Place struct {
	// Target is the edgeDevice target, with its defaults.
	Target protocol.EdgeDevice
	// State and Reports are repositories.
	State, Reports Repository
}

// Repository is a repository of a registry.
type Repository struct {
	name   name.Repository
	puller *remote.Puller
	pusher *remote.Pusher
}

// Of is the place of an app on an edgeDevice target. A topology that names no
// registry for it is an error of status protocol.ExitUnsupported.
func Of(topology protocol.Topology, target, app string) (Place, error) {
	edge := topology.Targets[target].EdgeDevice
	if edge == nil {
		return Place{}, protocol.Unsupported("target %q of topology %q is not an edgeDevice", target, topology.Name)
	}
	p := Place{Target: *edge}
	if p.Target.Reports == nil {
		p.Target.Reports = &protocol.DeviceReports{}
	}
	within := within(edge.Group, edge.Device) + app
	limit := rate.NewLimiter(rate.Inf, 1)
	if n := p.Target.Reports.RequestsPerSecond; n > 0 {
		// A little less: requests that are held up on their way arrive together.
		limit.SetLimit(rate.Limit(n) * 98 / 100)
	}
	var err error
	if p.State, err = repository(topology, *edge, edge.Registry, "edge", within, limit); err != nil {
		return Place{}, fmt.Errorf("target %q: %w", target, err)
	}
	if p.Reports, err = repository(topology, *edge, p.Target.Reports.Registry, "edge-reports", within, limit); err != nil {
		return Place{}, fmt.Errorf("target %q: %w", target, err)
	}
	return p, nil
}

// limited sends requests no faster than its limit.
type limited struct {
	http.RoundTripper
	limit *rate.Limiter
}

// RoundTrip implements [http.RoundTripper].
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := l.limit.Wait(r.Context()); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return l.RoundTripper.RoundTrip(r)
}

// repository is one under the registry given, or next to the topology's images.
func repository(topology protocol.Topology, edge protocol.EdgeDevice, registry, folder, within string, limit *rate.Limiter) (Repository, error) {
	insecure := edge.Insecure
	if registry == "" {
		images := topology.OCIRegistry
		if images == nil || images.URL == "" {
			return Repository{}, protocol.Unsupported("topology %q names no registry for the state of edge devices", topology.Name).
				WithHint("set edgeDevice.registry of the target, or spec.ociRegistry.url of the topology")
		}
		registry, insecure = strings.Trim(images.URL, "/")+"/"+folder, insecure || images.Insecure
	}
	return open(registry+within, insecure, limit)
}

// Reports are the reports of an app, under a registry of reports: of a group of devices, or
// of one device if group is empty.
func Reports(registry string, insecure bool, group, device, app string) (Repository, error) {
	if scheme, _, has := strings.Cut(registry, "://"); has {
		return Repository{}, protocol.Invalid("%q has the scheme %s://; a registry is named without one: registry.example.com/edge-reports", registry, scheme)
	}
	return open(strings.Trim(registry, "/")+within(group, device)+app, insecure, rate.NewLimiter(rate.Inf, 1))
}

// within is the folder of what belongs to a group, or to one device.
func within(group, device string) string {
	if group == "" {
		return "/devices/" + device + "/"
	}
	return "/groups/" + group + "/"
}

func open(repository string, insecure bool, limit *rate.Limiter) (Repository, error) {
	made, err := name.NewRepository(repository, auth.Naming(insecure)...)
	if err != nil {
		return Repository{}, protocol.Invalid("%w", err)
	}
	guard := limited{&auth.Guard{Host: made.RegistryStr(), Insecure: insecure}, limit}
	r := Repository{name: made}
	if r.puller, err = remote.NewPuller(auth.Through(guard, remote.WithJobs(atOnce))...); err != nil {
		return Repository{}, err
	}
	r.pusher, err = remote.NewPusher(auth.Through(guard, remote.WithJobs(atOnce))...)
	return r, err
}

// String is the repository without a scheme.
func (r Repository) String() string { return r.name.Name() }

// Whose says whose state it is: device kiosk-7, or group shops.
func (p Place) Whose() string {
	if p.Target.Device != "" {
		return "device " + p.Target.Device
	}
	return "group " + p.Target.Group
}

// URL is what devices follow.
func (p Place) URL() string { return "oci://" + p.State.String() + ":" + TagLatest }

// Artifact is what a tag stands for; the zero value is nothing.
type Artifact struct {
	// Digest is that of the manifest: sha256:….
	Digest      string
	Annotations map[string]string

	descriptor *remote.Descriptor
}

// Get reads the manifest that a tag, or a digest, stands for. One that does not
// exist is the zero value, not an error.
func (r Repository) Get(ctx context.Context, tag string) (Artifact, error) {
	var ref name.Reference = r.name.Tag(tag)
	if isDigest(tag) {
		ref = r.name.Digest(tag)
	}
	found, err := r.puller.Get(ctx, ref)
	if isNotFound(err) {
		return Artifact{}, nil
	}
	if err != nil {
		return Artifact{}, r.fail(ctx, "read "+ref.Name(), err)
	}
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(found.Manifest, &manifest); err != nil {
		return Artifact{}, fmt.Errorf("%s: %w", ref.Name(), err)
	}
	return Artifact{Digest: found.Digest.String(), Annotations: manifest.Annotations, descriptor: found}, nil
}

// IsTombstone reports a state that has devices remove the app.
func (a Artifact) IsTombstone() bool { return a.Annotations[marks.Removed] != "" }

// Image is the artifact itself.
func (a Artifact) Image() (v1.Image, error) { return a.descriptor.Image() }

// Push pushes an artifact whole, the tag last.
func (r Repository) Push(ctx context.Context, tag string, image v1.Image) error {
	if err := r.pusher.Push(ctx, r.name.Tag(tag), image); err != nil {
		return r.fail(ctx, "push "+r.String()+":"+tag, err)
	}
	return nil
}

// Tag lets a tag stand for an artifact that Get has read.
func (r Repository) Tag(ctx context.Context, tag string, to Artifact) error {
	if err := r.pusher.Push(ctx, r.name.Tag(tag), to.descriptor); err != nil {
		return r.fail(ctx, "tag "+r.String()+":"+tag, err)
	}
	return nil
}

// Tags lists the tags; a missing repository has no tags.
func (r Repository) Tags(ctx context.Context) ([]string, error) {
	tags, err := r.puller.List(ctx, r.name)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, r.fail(ctx, "list the tags of "+r.String(), err)
	}
	return tags, nil
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// fail gives an error its exit status: what may pass can be tried again.
func (r Repository) fail(ctx context.Context, doing string, err error) error {
	var answer *transport.Error
	var refused *auth.PlainRefused
	var network net.Error
	told := fmt.Errorf("%s: %w", doing, err)
	failed := &protocol.Error{Code: protocol.ExitFailed, Err: told}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.As(err, &refused):
		return failed.WithHint("set insecure: true in the topology when the registry is meant to be spoken to by plain http")
	case errors.As(err, &answer):
		switch status := answer.StatusCode; {
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return failed.WithHint("log in to the registry; the account must be allowed to use this repository")
		case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError:
			failed.Code = protocol.ExitRetryable
		}
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		failed.Code = protocol.ExitRetryable
		return failed.WithHint("is the registry running, and reachable from here?")
	}
	return failed
}
