// Package solve has BuildKit build one image: a request of package build, over
// a connection that the caller made.
//
// Secrets, keys and credentials stay with the caller: the builder gets the
// value of a secret when a RUN that mounts it is under way, signatures of an
// agent instead of keys, and for each registry what the registry's own host is
// given anyway.
package solve

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Options say where the image goes and what goes with it. Only Export is
// required.
type Options struct {
	// Export says where the image goes: [Push], or another entry, such as one of the
	// type moby. The time of the image is filled in.
	Export client.ExportEntry
	// CacheFrom and CacheTo are caches outside the builder, whose attributes are
	// changed.
	CacheFrom, CacheTo []client.CacheOptionsEntry
	// SBOM is the image of the program that lists what is in the image; no list
	// is made when empty.
	SBOM string
	// Provenance is the mode of the SLSA v1 provenance, min or max; none is made
	// when empty.
	Provenance string
	// Progress takes an event for each step that begins or ends, and for what a
	// step writes; it may be nil. Stage is left to the receiver.
	Progress func(protocol.Event)
}

// Result is what the builder made.
type Result struct {
	// Descriptor of the manifest or index. The exporter moby reports only its
	// digest, if that.
	Descriptor ocispec.Descriptor
	// Response is what the exporter said, by its own keys, for example
	// exptypes.ExporterImageConfigDigestKey.
	Response map[string]string
}

// Push is an export straight to a registry, by digest and without a tag. The
// name is registry/repository; plain allows http.
func Push(name string, plain bool) client.ExportEntry {
	attrs := map[string]string{
		string(exptypes.OptKeyName):         name,
		string(exptypes.OptKeyPush):         "true",
		string(exptypes.OptKeyPushByDigest): "true",
		string(exptypes.OptKeyOCITypes):     "true",
		string(exptypes.OptKeyStore):        "false",
	}
	if plain {
		attrs[string(exptypes.OptKeyInsecure)] = "true"
	}
	return client.ExportEntry{Type: client.ExporterImage, Attrs: attrs}
}

// Image builds the image and returns when it is where Export says. Errors of
// the Dockerfile are of status protocol.ExitInvalid and name file and line; a
// builder that cannot be reached, or is lost, is [ErrUnreachable] of status
// protocol.ExitRetryable; a cancelled context ends the build in the builder.
func Image(ctx context.Context, c *client.Client, r build.Request, o Options) (_ Result, err error) {
	opt, err := options(r, o)
	defer func() { err = errors.Join(err, closeFolders(opt)) }()
	if err != nil {
		return Result{}, err
	}
	p := newProgress(r, o.Progress)
	statuses := make(chan *client.SolveStatus)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.follow(statuses)
	}()
	response, err := c.Solve(ctx, nil, opt, statuses)
	<-done
	if err != nil {
		return Result{}, explain(ctx, r, p, err)
	}
	return result(response.ExporterResponse)
}

// result reads what the exporter said.
func result(response map[string]string) (Result, error) {
	r := Result{Response: response}
	text := response[exptypes.ExporterImageDescriptorKey]
	if text == "" {
		return r, nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &r.Descriptor)
	}
	if err == nil {
		err = r.Descriptor.Digest.Validate()
	}
	if err != nil {
		return r, fmt.Errorf("the builder's description of the image: %w", err)
	}
	return r, nil
}

// ToLayout builds the image into a draft, which the caller commits with the
// descriptor that it returns, or discards. Export of the options is ignored.
// Every blob is verified against its digest before it is kept.
func ToLayout(ctx context.Context, c *client.Client, r build.Request, o Options, draft *ocilayout.Draft) (ocispec.Descriptor, error) {
	dir, err := draft.Dir()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	dir = filepath.Join(dir, "received")
	store, err := contentlocal.NewStore(dir)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	o.Export = client.ExportEntry{
		Type: client.ExporterOCI, OutputStore: store,
		Attrs: map[string]string{"tar": "false", string(exptypes.OptKeyOCITypes): "true"},
	}
	made, err := Image(ctx, c, r, o)
	if err != nil {
		return made.Descriptor, err
	}
	if made.Descriptor.Digest == "" {
		return made.Descriptor, fmt.Errorf("the builder did not report what it made: %v", made.Response)
	}
	return made.Descriptor, store.Walk(ctx, func(blob content.Info) error {
		if err := blob.Digest.Validate(); err != nil {
			return err
		}
		return draft.AddBlob(blob.Digest, filepath.Join(dir, ocispec.ImageBlobsDir, blob.Digest.Algorithm().String(), blob.Digest.Encoded()))
	})
}
