package edge

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The media types of Flux's artifacts.
const (
	configType  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	contentType types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"
)

// The annotations that Flux reads: where the content is from, which revision of
// it this is, and when it was made.
const (
	annotationSource   = "org.opencontainers.image.source"
	annotationRevision = "org.opencontainers.image.revision"
	annotationCreated  = "org.opencontainers.image.created"
)

// epoch stands for every time in an artifact: the same state is the same digest,
// whenever and wherever it was made.
var epoch = time.Unix(0, 0).UTC()

type file struct {
	name    string
	content []byte
}

// artifact makes the artifact that holds the desired state.
func (d *deployment) artifact(ctx context.Context) (v1.Image, error) {
	files, err := d.files(ctx)
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{
		annotationSource:   cmp.Or(d.chart.URL, d.chart.Chart),
		annotationRevision: d.app.Version + "@" + d.chart.Digest,
		annotationCreated:  epoch.Format(time.RFC3339),
		marks.App:          d.app.Name,
		marks.Version:      d.app.Version,
		marks.Image:        d.image.Digest,
		marks.Chart:        d.chart.Digest,
	}
	if len(d.image.Images) > 0 {
		annotations[marks.Images] = marks.WriteImages(d.image.Images)
	}
	return imageOf(files, annotations)
}

// imageOf is the artifact of files in Flux's format.
func imageOf(files []file, annotations map[string]string) (v1.Image, error) {
	archive, err := pack(files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, tarball.WithMediaType(contentType))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), configType)
	image = mutate.Annotations(image, annotations).(v1.Image)
	return mutate.Append(image, mutate.Addendum{Layer: layer})
}

func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	compressed := gzip.NewWriter(&b)
	w := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), ModTime: epoch, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type published struct {
	digest    string
	unchanged bool
	// previous is the state that devices followed before; the zero value is nothing.
	previous devices.Artifact
}

// publish lets devices follow the artifact, which gets a tag of its own as well. The tag
// that they follow is written last: until then they see nothing of it.
func (d *deployment) publish(ctx context.Context, tag string, image v1.Image) (published, error) {
	digest, err := image.Digest()
	if err != nil {
		return published{}, err
	}
	p := published{digest: digest.String()}
	if p.previous, err = d.place.State.Get(ctx, devices.TagLatest); err != nil {
		return p, err
	}
	p.unchanged = p.previous.Digest == p.digest
	if p.unchanged {
		return p, nil
	}
	if !d.tombstone {
		err = delivery.Downgrade(d.topology, d.app, d.target, p.previous.Annotations[marks.Version])
	}
	if err != nil || d.dryRun {
		return p, err
	}
	d.progress(protocol.Event{Phase: "publish", Message: d.place.URL() + "@" + p.digest})
	if err := d.place.State.Push(ctx, tag, image); err != nil {
		return p, err
	}
	made, err := d.place.State.Get(ctx, tag)
	if err != nil {
		return p, err
	}
	return p, d.follow(ctx, made, p.digest, p.previous)
}

// follow has devices follow an artifact that is in the registry, and keeps what
// they followed before under a tag of its own.
func (d *deployment) follow(ctx context.Context, to devices.Artifact, digest string, previous devices.Artifact) error {
	if to.Digest != digest {
		return d.raced(to.Digest)
	}
	if previous.Digest != "" {
		if err := d.place.State.Tag(ctx, devices.TagPrevious, previous); err != nil {
			return err
		}
	}
	now, err := d.place.State.Get(ctx, devices.TagLatest)
	if err == nil && now.Digest != previous.Digest {
		err = d.raced(now.Digest) // which may be newer
	}
	if err != nil {
		return err
	}
	if err := d.place.State.Tag(ctx, devices.TagLatest, to); err != nil {
		return err
	}
	now, err = d.place.State.Get(ctx, devices.TagLatest)
	if err == nil && now.Digest != digest {
		err = d.raced(now.Digest)
	}
	if err != nil {
		return err
	}
	return d.takeAlong(ctx, to)
}

// takeAlong lets the tags of rings that the topology does not have any more follow as the
// last ring does: devices that were not registered again follow them.
func (d *deployment) takeAlong(ctx context.Context, to devices.Artifact) error {
	strays, err := d.place.Strays(ctx)
	for _, tag := range strays {
		if err = d.place.State.Tag(ctx, tag, to); err != nil {
			break
		}
	}
	return err
}

// raced is the error of two deploys that publish at the same time.
func (d *deployment) raced(digest string) error {
	return protocol.Retryable("somebody else published %s to %s at the same time", digest, d.place.State)
}

// maxState bounds what is read of a published state, in bytes.
const maxState = 64 << 20

// Diff lists the objects of the state that devices follow now and of the one
// that a deploy would publish.
func (a *adapter) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return nil, err
	}
	made, err := d.files(ctx)
	if err != nil {
		return nil, err
	}
	now, err := d.place.State.Get(ctx, devices.TagLatest)
	if err != nil {
		return nil, err
	}
	var told []file
	if now.Digest != "" {
		if told, err = d.filesOf(now); err != nil {
			return nil, err
		}
	}
	return differences(told, made)
}

// filesOf are the files of a published state.
func (d *deployment) filesOf(state devices.Artifact) ([]file, error) {
	var files []file
	image, err := state.Image()
	if err == nil {
		files, err = unpack(image)
	}
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", d.place.State, state.Digest, err)
	}
	return files, nil
}

func unpack(image v1.Image) ([]file, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("it has %d layers instead of one: it is not a state that harmony published", len(layers))
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	archive := tar.NewReader(io.LimitReader(content, maxState))
	var files []file
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, archive); err != nil {
			return nil, err
		}
		files = append(files, file{header.Name, b.Bytes()})
	}
}

func differences(before, after []file) ([]difference.Object, error) {
	old, err := objects(before)
	if err != nil {
		return nil, err
	}
	fresh, err := objects(after)
	if err != nil {
		return nil, err
	}
	known := map[string]*unstructured.Unstructured{}
	for _, o := range old {
		known[manifest.Space{}.Key(o)] = o
	}
	var found []difference.Object
	for _, o := range fresh {
		found = append(found, difference.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Before: known[manifest.Space{}.Key(o)], After: o})
		delete(known, manifest.Space{}.Key(o))
	}
	for _, o := range old {
		if known[manifest.Space{}.Key(o)] != nil {
			found = append(found, difference.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Before: o})
		}
	}
	return found, nil
}

// objects are those that devices apply: whatever applies a folder takes the files of
// YAML only.
func objects(files []file) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, f := range files {
		if path.Ext(f.name) != ".yaml" {
			continue
		}
		found, err := manifest.Parse(string(f.content))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}
