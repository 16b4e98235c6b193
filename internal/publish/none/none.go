// Package none is the adapter none of the capability HelmRegistry: a topology
// without a chart registry. The chart stays an archive on this machine.
package none

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// registry is a HelmRegistry that keeps charts local.
type registry struct {
	env   capability.Environment
	flags *publish.Flags
	pack  chart.Packer
}

// NewHelmRegistry makes the HelmRegistry of a topology that has none, for the
// charts that pack makes.
func NewHelmRegistry(flags *publish.Flags, pack chart.Packer) capability.Adapter[capability.HelmRegistry] {
	return func(_ context.Context, env capability.Environment) (capability.HelmRegistry, error) {
		return registry{env, flags, pack}, nil
	}
}

// PushChart implements [capability.HelmRegistry]: it packages the chart into
// the cache, under a name that holds the digest. It does so in a dry run too,
// for a deploy is planned from the chart.
func (r registry) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	packed, err := r.flags.Pack(ctx, r.env, r.pack, app, image)
	if err != nil {
		return protocol.ChartRef{}, err
	}
	ref := protocol.ChartRef{
		Metadata: app.Metadata,
		Chart:    packed.Name, ChartVersion: packed.Version,
		Image: packed.Image, Images: packed.Images, Pinned: packed.Pinned, Planned: r.env.DryRun,
	}
	if len(packed.Archive) == 0 {
		return ref, nil
	}
	ref.Digest = packed.Digest()
	ref.Path, ref.Unchanged, err = r.keep(packed)
	return ref, err
}

// keep writes the archive into the cache, unless it is there.
func (r registry) keep(packed chart.Chart) (path string, unchanged bool, err error) {
	short := packed.Digest()[len("sha256:"):][:12]
	path, err = filepath.Abs(filepath.Join(r.env.Cache, "charts", fmt.Sprintf("%s-%s-%s.tgz", packed.Name, packed.Version, short)))
	if err != nil {
		return "", false, err
	}
	if held, err := os.ReadFile(path); err == nil && (chart.Chart{Archive: held}).Digest() == packed.Digest() {
		return path, true, nil
	}
	if err := atomicfile.Write(path, packed.Archive, 0o600); err != nil {
		return "", false, fmt.Errorf("keep chart: %w", err)
	}
	return path, false, nil
}
