package daemonless

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maker turns a plan into layers. It belongs to one platform.
type maker struct {
	recipe *dockerfile
	draft  *layout.Draft
	// trees are the file systems of the stages that files are copied from.
	trees map[*state]*tree
}

// image packs the layers of a state and writes the image.
func (m *maker) image(ctx context.Context, s *state) (ocispec.Descriptor, error) {
	layers, packed, err := m.layers(ctx, s)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	image := cloneImage(s.image)
	created := m.recipe.created
	image.Created = &created
	image.History = baseHistory(s)
	for _, step := range s.history {
		image.History = append(image.History, ocispec.History{
			Created: &created, CreatedBy: step.text, EmptyLayer: step.operation == nil || !packed[step.operation],
		})
	}
	return m.draft.AddImage(image, layers)
}

// baseHistory is the history of the base, with an entry for each of its layers.
func baseHistory(s *state) []ocispec.History {
	history := slices.Clone(s.image.History)
	if s.base == nil {
		return history
	}
	missing := len(s.base.layers)
	for _, h := range history {
		if !h.EmptyLayer {
			missing--
		}
	}
	for range max(missing, 0) {
		history = append(history, ocispec.History{Comment: "base image"})
	}
	return history
}

// layers are those of the base, and one for each operation that changes
// anything, which packed tells.
func (m *maker) layers(ctx context.Context, s *state) (layers []layout.Layer, packed map[*operation]bool, err error) {
	if s.base != nil {
		if layers, err = m.baseLayers(ctx, s.base); err != nil {
			return nil, nil, err
		}
	}
	packed = map[*operation]bool{}
	if len(s.operations) == 0 {
		return layers, packed, nil
	}
	t, err := m.ground(ctx, s.base)
	if err != nil {
		return nil, nil, err
	}
	for _, op := range s.operations {
		entries, err := m.carryOut(ctx, op, t, s.base)
		if err != nil {
			return nil, nil, err
		}
		if len(entries) == 0 {
			continue
		}
		layer, err := m.draft.WriteLayer(ctx, entries, m.recipe.created)
		if err != nil {
			return nil, nil, locate(op.name, op.line, err)
		}
		layers, packed[op] = append(layers, layer), true
	}
	return layers, packed, nil
}

// baseLayers brings the layers of a base image into the draft.
func (m *maker) baseLayers(ctx context.Context, b *base) ([]layout.Layer, error) {
	for i, l := range b.layers {
		m.recipe.progress("pull", "%s, layer %d of %d", b.repository, i+1, len(b.layers))
		file, err := m.recipe.registry.blob(ctx, b.repository, l.Descriptor.Digest)
		if err == nil {
			err = m.draft.AddBlob(l.Descriptor.Digest, file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: layer %s: %w", b.repository, l.Descriptor.Digest, err)
		}
	}
	return slices.Clone(b.layers), nil
}

// ground is the file system that the operations of a stage begin with.
func (m *maker) ground(ctx context.Context, b *base) (*tree, error) {
	if b == nil {
		return newTree(), nil
	}
	t, err := m.recipe.registry.load(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.repository, err)
	}
	return t, nil
}

// tree is the file system of a stage or image that files are copied from.
func (m *maker) tree(ctx context.Context, s *state) (*tree, error) {
	if t, ok := m.trees[s]; ok {
		return t, nil
	}
	t, err := m.ground(ctx, s.base)
	if err != nil {
		return nil, err
	}
	for _, op := range s.operations {
		if _, err := m.carryOut(ctx, op, t, s.base); err != nil {
			return nil, err
		}
	}
	m.trees[s] = t
	return t, nil
}

// carryOut changes the tree and returns what is new in it.
func (m *maker) carryOut(ctx context.Context, op *operation, t *tree, b *base) ([]layout.Entry, error) {
	w := &writer{tree: t, new: map[string]layout.Entry{}}
	var err error
	if op.folder != "" {
		_, err = w.mkdirAll(op.folder)
	} else {
		err = m.place(ctx, op.copy, w, b)
	}
	if err != nil {
		return nil, atLine(op, err)
	}
	return w.entries(), nil
}

// atLine says where an error comes from. It is the fault of the Dockerfile
// unless it has a status, comes from the system, or the work was cancelled.
func atLine(op *operation, err error) error {
	var coded *protocol.Error
	var system syscall.Errno
	if errors.As(err, &coded) || errors.As(err, &system) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return locate(op.name, op.line, err)
	}
	return invalid(op.name, op.line, "%w", err)
}
