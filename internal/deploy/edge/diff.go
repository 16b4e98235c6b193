package edge

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxState bounds what is read of a published state, in bytes.
const maxState = 64 << 20

// Diff lists the objects of the state that devices are told now and of the one
// that a deploy would publish.
func (a *adapter) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	if d.values, err = values.Of(app, target); err != nil {
		return nil, err
	}
	d.image, d.chart = image, chart
	if err := a.check(d); err != nil {
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
		published, err := now.Image()
		if err != nil {
			return nil, err
		}
		if told, err = unpack(published); err != nil {
			return nil, fmt.Errorf("%s@%s: %w", d.place.State, now.Digest, err)
		}
	}
	return differences(told, made)
}

// unpack reads the files of a state.
func unpack(image v1.Image) ([]file, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("it has %d layers instead of one: it is no state of harmony", len(layers))
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

// differences pairs the objects of two states.
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
		known[key(o)] = o
	}
	var found []difference.Object
	for _, o := range fresh {
		found = append(found, difference.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Before: known[key(o)], After: o})
		delete(known, key(o))
	}
	for _, o := range old {
		if known[key(o)] != nil {
			found = append(found, difference.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Before: o})
		}
	}
	return found, nil
}

func objects(files []file) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, f := range files {
		found, err := manifest.Parse(string(f.content))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func key(o *unstructured.Unstructured) string {
	return o.GroupVersionKind().GroupKind().String() + "/" + o.GetNamespace() + "/" + o.GetName()
}
