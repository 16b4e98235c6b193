package daemonless

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maker turns a plan into layers. It belongs to one platform.
type maker struct {
	recipe *recipe
	draft  *ocilayout.Draft
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
	created := m.recipe.request.Created
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
	missing := len(s.base.Layers)
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
// anything; packed has those.
func (m *maker) layers(ctx context.Context, s *state) (layers []ocilayout.Layer, packed map[*operation]bool, err error) {
	if s.base != nil {
		if layers, err = m.baseLayers(ctx, s.base); err != nil {
			return nil, nil, err
		}
	}
	made := make([]ocilayout.Layer, len(s.operations))
	if err := m.pack(ctx, s, made); err != nil {
		return nil, nil, err
	}
	packed = map[*operation]bool{}
	for i, op := range s.operations {
		if made[i].DiffID != "" {
			layers, packed[op] = append(layers, made[i]), true
		}
	}
	return layers, packed, nil
}

// parallel is how many layers are packed at a time. Each is compressed on several
// processors; a second one reads and hashes meanwhile.
const parallel = 2

// pack makes the layers of the operations that change anything.
func (m *maker) pack(ctx context.Context, s *state, made []ocilayout.Layer) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel + 1) // one carries out the operations
	group.Go(func() error {
		return m.changes(ctx, s, func(i int, op *operation, entries []ocilayout.Entry) {
			group.Go(func() (err error) {
				if made[i], err = m.draft.WriteLayer(ctx, entries, m.recipe.request.Created); err != nil {
					return dockerfile.Locate(op.name, op.line, err)
				}
				return nil
			})
		})
	})
	return group.Wait()
}

// changes carries out the operations of a state and hands out what each changes.
func (m *maker) changes(ctx context.Context, s *state, each func(int, *operation, []ocilayout.Entry)) error {
	t := newTree()
	if s.needsBase() {
		var err error
		if t, err = m.ground(ctx, s.base); err != nil {
			return err
		}
	}
	for i, op := range s.operations {
		entries, err := m.carryOut(ctx, op, t)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			each(i, op, entries)
		}
	}
	return nil
}

// needsBase reports whether the file system of the base matters: links and folders at
// the destinations, names of users.
func (s *state) needsBase() bool {
	return slices.ContainsFunc(s.operations, func(op *operation) bool { return op.copy == nil || !op.copy.link })
}

// baseLayers adds the layers of a base image to the draft, unless they are where the
// image is going.
func (m *maker) baseLayers(ctx context.Context, b *base.Image) ([]ocilayout.Layer, error) {
	for i, l := range b.Layers {
		if b.Repository.RegistryStr() == m.recipe.destination {
			m.draft.LeaveElsewhere(l.Descriptor.Digest, ocilayout.Place{
				Registry: b.Repository.RegistryStr(), Repository: b.Repository.RepositoryStr(), Insecure: b.Insecure,
			})
			continue
		}
		m.recipe.progress("pull", "%s, layer %d of %d", b.Repository, i+1, len(b.Layers))
		file, err := m.recipe.registry.Blob(ctx, b.Repository, l.Descriptor)
		if err == nil {
			err = m.draft.AddBlob(l.Descriptor.Digest, file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: layer %s: %w", b.Repository, l.Descriptor.Digest, err)
		}
	}
	return slices.Clone(b.Layers), nil
}

// ground is the file system that the operations of a stage begin with.
func (m *maker) ground(ctx context.Context, b *base.Image) (*tree, error) {
	if b == nil {
		return newTree(), nil
	}
	t, err := load(ctx, m.recipe.registry, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Repository, err)
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
		if _, err := m.carryOut(ctx, op, t); err != nil {
			return nil, err
		}
	}
	m.trees[s] = t
	return t, nil
}

// carryOut changes the tree and returns what is new in it.
func (m *maker) carryOut(ctx context.Context, op *operation, t *tree) ([]ocilayout.Entry, error) {
	w := newWriter(t)
	var err error
	switch {
	case op.copy == nil:
		err = m.makeFolder(ctx, op, w)
	case op.copy.link:
		w.tree = newTree()
		if err = m.place(ctx, op.copy, w); err == nil {
			err = t.overlay(w.tree)
		}
	default:
		err = m.place(ctx, op.copy, w)
	}
	if err != nil {
		return nil, atLine(op.name, op.line, err)
	}
	return slices.Collect(maps.Values(w.new)), nil
}

// makeFolder carries out a WORKDIR: its folders belong to the user.
func (m *maker) makeFolder(ctx context.Context, op *operation, w *writer) error {
	_, there, err := w.tree.resolve(op.folder, true)
	if err == nil && there == nil {
		w.uid, w.gid, err = m.owner(ctx, op.user, w.tree)
		if err != nil {
			err = fmt.Errorf("WORKDIR %s belongs to USER %s: %w", op.folder, op.user, err)
		}
	}
	if err == nil {
		_, err = w.mkdirAll(op.folder, 0o755)
	}
	return err
}

// atLine locates an error in the Dockerfile. It is an invalid Dockerfile unless the
// error has a status, comes from the system, or the work was cancelled.
func atLine(name string, line int, err error) error {
	var coded *protocol.Error
	var system syscall.Errno
	if errors.As(err, &coded) || errors.As(err, &system) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return dockerfile.Locate(name, line, err)
	}
	return dockerfile.Invalid(name, line, "%w", err)
}
