// Package nodeimport is the adapter node-import of OCIRegistry: it brings images
// into the container runtime of every node, for clusters that pull from no
// registry. It knows the clusters of k3d and kind, by the kube contexts of the
// topology's targets, and a containerd socket of this machine.
//
// The image gets the names that a pull would give it, name:tag and name@digest,
// under a registry that can never exist, so that a chart names it with its digest
// and no node ever asks anybody else for it. A chart must not set the
// imagePullPolicy Always.
//
// What the tools say counts for nothing: each node is asked what it has.
package nodeimport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/config/localcluster"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Registry is the host in the names of imported images. The domain .invalid
// never has hosts (RFC 2606).
const Registry = "harmony.invalid"

type registry struct {
	env    capability.Environment
	flags  *publish.Flags
	places places
}

// New makes the adapter. A topology with a target that is no cluster of k3d or
// kind, and that names no containerd socket, is an error of status
// protocol.ExitUnsupported. flags may be nil.
func New(flags *publish.Flags) capability.Adapter[capability.OCIRegistry] {
	return func(_ context.Context, env capability.Environment) (capability.OCIRegistry, error) {
		places, err := readSettings(env, os.Getenv)
		return &registry{env: env, flags: flags, places: places}, err
	}
}

// PushImage implements [capability.OCIRegistry]. Of an image that exists the
// nodes get the one of their platform, unless it stays where it is.
func (r *registry) PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	if app.Image.Stays() {
		return publish.InPlace(r.env, app, image)
	}
	imported := image
	imported.Metadata, imported.Registry, imported.Tag = app.Metadata, Registry, protocol.TagOf(app.Version)
	imported.Location, imported.Path, imported.ID, imported.Insecure = protocol.InNodes, "", "", false
	imported.Unchanged, imported.Planned = false, r.env.DryRun
	if err := r.refuse(app, image, imported); err != nil {
		return protocol.ImageRef{}, err
	}
	var exported archive
	if image.Location == protocol.InRegistry {
		var err error
		if exported, err = readRegistry(ctx, app, image); err != nil {
			return protocol.ImageRef{}, err
		}
		imported.Repository, imported.Digest = app.Repository(), exported.root.Digest.String()
	}
	if image.Location == protocol.InDaemon {
		image.Metadata = app.Metadata
		imported.Digest = saved.InCache(r.env.Cache).Digest(image)
		if imported.Digest == "" && !r.env.DryRun { // only its bytes tell it
			var err error
			exported, err = r.export(ctx, image)
			defer exported.close()
			if err != nil {
				return protocol.ImageRef{}, err
			}
			imported.Digest = exported.root.Digest.String()
		}
	}
	if imported.Digest == "" {
		return imported, nil
	}
	lacking, err := r.lacking(ctx, imported)
	imported.Unchanged = len(lacking) == 0
	if err == nil && !imported.Unchanged && !r.env.DryRun {
		err = r.bring(ctx, lacking, exported, image, imported)
	}
	if err != nil {
		return protocol.ImageRef{}, publish.Moved(app, err)
	}
	return imported, nil
}

func (r *registry) refuse(app protocol.AppSpec, image, imported protocol.ImageRef) error {
	planned := image.Digest == "" && image.Location != protocol.InDaemon || image.Planned
	switch {
	case planned && r.env.DryRun:
		return nil
	case planned:
		return protocol.Invalid("image of %s is only planned: there is nothing to import", app.Name).WithHint("build it first, without --dry-run")
	case image.Location == protocol.InDaemon:
		if err := saved.CheckID(image); err != nil {
			return err
		}
	case image.Location == protocol.InRegistry && app.Image.Ref != "":
	case image.Location != protocol.InLayout && image.Location != "":
		return protocol.Unsupported("the adapter node-import cannot import an image from the location %q", image.Location).
			WithHint("it takes images from an OCI layout folder or a Docker-compatible daemon")
	}
	if _, err := protocol.ParseImageRef(imported.String()); err != nil {
		return protocol.Invalid("%w", err)
	}
	return nil
}

// lacking lists the nodes that do not have the whole image. A node that has
// another image under the tag of a release is an error.
func (r *registry) lacking(ctx context.Context, image protocol.ImageRef) ([]node, error) {
	nodes, err := r.places.nodes(ctx)
	if err != nil {
		return nil, err
	}
	held := make([]held, len(nodes))
	group, asking := errgroup.WithContext(ctx)
	for i, n := range nodes {
		group.Go(func() (err error) {
			held[i], err = n.images(asking, image)
			return err
		})
	}
	if err := group.Wait(); ctx.Err() != nil {
		return nil, fmt.Errorf("list the images of the nodes: %w", ctx.Err())
	} else if err != nil {
		return nil, err
	}
	var lacking []node
	for i, n := range nodes {
		if held[i].missing(image) == "" {
			continue
		}
		lacking = append(lacking, n)
		if other := held[i].tagged; other != "" && other != image.Digest {
			if err := r.flags.MayReplace(image.FullName()+":"+image.Tag+" on node "+n.name, image.Version, other, image.Digest); err != nil {
				return nil, err
			}
		}
	}
	return lacking, nil
}

// read returns the image as an archive, which the caller closes.
func (r *registry) read(ctx context.Context, exported archive, image, imported protocol.ImageRef) (a archive, err error) {
	switch {
	case len(exported.files) > 0:
		return exported.named(imported)
	case image.Location == protocol.InDaemon: // and known by its digest
		a, err = r.export(ctx, image)
	default:
		a, err = readLayout(ctx, image.Path, imported.Digest)
	}
	if got := a.root.Digest.String(); err == nil && got != imported.Digest {
		err = fmt.Errorf("the image of %s is now %s, not %s", image.Name, got, imported.Digest)
	}
	if err != nil {
		return a, err
	}
	return a.named(imported)
}

// bring imports the image and checks what the nodes have then.
func (r *registry) bring(ctx context.Context, nodes []node, exported archive, image, imported protocol.ImageRef) error {
	content, err := r.read(ctx, exported, image, imported)
	defer content.close()
	if err != nil {
		return err
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.name
	}
	r.env.Progress(protocol.Event{Metadata: imported.Metadata, Phase: "import", Message: imported.FullName() + ":" + imported.Tag + " into " + strings.Join(names, ", ")})
	reported := content.load(ctx, nodes)
	var unread *unreadable
	var corrupt *ocilayout.Corrupt
	switch {
	case errors.As(reported, &unread):
		return fmt.Errorf("import image of %s: %w", imported.Name, unread.error)
	case errors.As(reported, &corrupt):
		broken := &protocol.Error{Code: protocol.ExitFailed, Message: "import image of " + imported.Name, Err: corrupt}
		return broken.WithHint("the builder's cache is damaged: remove it and build again")
	case ctx.Err() != nil:
		return fmt.Errorf("import image of %s: %w", imported.Name, ctx.Err())
	}
	var problems []error
	for _, n := range nodes {
		if err := n.proves(ctx, imported); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		return nil // whatever the tool reported
	}
	if reported == nil {
		reported = errors.New("the tool that imports reported success")
	}
	failed := &protocol.Error{Code: protocol.ExitFailed, Message: "import image of " + imported.Name, Err: errors.Join(append(problems, reported)...)}
	return failed.WithHint("is there space on the nodes, and do they run? Setting HARMONY_REGISTRY takes a registry instead")
}

// places are where the images go, by spec.ociRegistry.settings: clusters, or a
// socket.
type places struct {
	// containerd is the path of a socket of this machine, which is then the only
	// node.
	containerd string
	// context is the kube context of a k3d or kind cluster; those of the
	// topology's targets when empty.
	context string
	// engine is the command that the clusters' containers are made by: docker, or
	// podman.
	engine   string
	clusters []localcluster.Cluster
}

func readSettings(env capability.Environment, getenv func(string) string) (places, error) {
	p := places{engine: "docker"}
	err := settings.Of(env, "ociRegistry", settings.Table{
		"containerd": settings.Text(&p.containerd), "context": settings.Text(&p.context), "engine": settings.Text(&p.engine),
	})
	if err != nil || p.containerd != "" {
		return p, err
	}
	contexts, err := p.contexts(env.Topology, getenv)
	if err != nil {
		return p, err
	}
	for _, context := range contexts {
		cluster, ok := localcluster.Of(context)
		if !ok {
			return p, protocol.Unsupported("topology %q: the kube context %q is not a k3d or kind cluster: the adapter node-import cannot reach its nodes", env.Topology.Name, context).
				WithHint("use the adapter oci with a registry, or set spec.ociRegistry.settings.containerd to the socket of a node on this machine")
		}
		p.clusters = append(p.clusters, cluster)
	}
	return p, nil
}

// contexts are the kube contexts of all that the topology deploys to.
func (p places) contexts(t protocol.Topology, getenv func(string) string) ([]string, error) {
	if p.context != "" {
		return []string{p.context}, nil
	}
	all := map[string]bool{}
	for name, target := range t.Targets {
		switch {
		case target.InCluster != nil:
			all[target.InCluster.Context] = true
		case target.MultiCluster != nil && (target.MultiCluster.Selector != "" || target.MultiCluster.ArgoCD != nil):
			return nil, protocol.Unsupported("topology %q: the adapter node-import knows the clusters of target %q only where it names their contexts", t.Name, name).
				WithHint("use the adapter oci with a registry, or name the contexts")
		case target.MultiCluster != nil:
			for _, context := range target.MultiCluster.Contexts {
				all[context] = true
			}
		}
	}
	if len(all) == 0 || all[""] {
		delete(all, "")
		current, err := localcluster.CurrentContext(getenv)
		if err != nil {
			return nil, protocol.Invalid("%w", err)
		}
		if current == "" {
			return nil, protocol.Unsupported("no current kube context: the adapter node-import cannot find its nodes").WithHint("set KUBECONFIG")
		}
		all[current] = true
	}
	return slices.Sorted(maps.Keys(all)), nil
}
