package solve

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	spb "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The names of the frontend's own folders.
const (
	contextFolder    = "context"
	dockerfileFolder = "dockerfile"
)

// epochArg is the variable by which somebody asks for times that are fixed, those
// of files too; see reproducible-builds.org/specs/source-date-epoch. To change
// those of files means to compress each layer twice, and is not done unasked.
const epochArg = "SOURCE_DATE_EPOCH"

// options are a whole request to the builder.
func options(r build.Request, o Options) (client.SolveOpt, error) {
	epoch := strconv.FormatInt(r.Created.Unix(), 10)
	export := o.Export
	export.Attrs = maps.Clone(export.Attrs)
	if export.Attrs == nil {
		export.Attrs = map[string]string{}
	}
	export.Attrs[string(exptypes.OptKeySourceDateEpoch)] = epoch
	if export.Type != "moby" {
		export.Attrs[exptypes.AnnotationManifestKey(nil, protocol.InputAnnotation)] = r.Input
	}
	// The exporter moby takes no other attributes than its own.
	if asked := r.Created.Unix() != 0 || r.Context.Args[epochArg] != ""; asked && export.Type != "moby" {
		export.Attrs[string(exptypes.OptKeyRewriteTimestamp)] = "true"
	}
	opt := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attributes(r, o),
		LocalMounts:   map[string]fsutil.FS{},
		SharedKey:     sharedKey(r),
		Exports:       []client.ExportEntry{export},
		CacheImports:  o.CacheFrom,
		CacheExports:  o.CacheTo,
		SourcePolicy:  pins(r.Bases),
	}
	opt.FrontendAttrs["build-arg:"+epochArg] = cmp.Or(r.Context.Args[epochArg], epoch)
	if err := addFolders(&opt, r.Context); err != nil {
		return opt, err
	}
	session, err := attachables(r.Context)
	opt.Session = session
	return opt, err
}

// sharedKey tells the builder that the folders are those of an earlier build,
// so that only what changed is sent.
func sharedKey(r build.Request) string {
	host, _ := os.Hostname() // without it, a folder of another machine is compared and sent again
	return digest.FromString(host + "\x00" + r.App.ProjectRoot + "\x00" + r.App.Name).Encoded()
}

// attributes are those of the Dockerfile frontend.
func attributes(r build.Request, o Options) map[string]string {
	attrs := map[string]string{
		"filename": filepath.Base(r.Context.Dockerfile),
		"platform": strings.Join(ocilayout.PlatformStrings(r.Platforms), ","),
	}
	if r.Context.Target != "" {
		attrs["target"] = r.Context.Target
	}
	for name, value := range r.Context.Args {
		attrs["build-arg:"+name] = value
	}
	if r.NoCache {
		attrs["no-cache"] = ""
	}
	if o.SBOM != "" {
		attrs["attest:sbom"] = "generator=" + o.SBOM
	}
	if o.Provenance != "" {
		attrs["attest:provenance"] = "mode=" + o.Provenance + ",version=v1"
	}
	return attrs
}

// addFolders mounts the context, the Dockerfile's folder, and what the named
// contexts are.
func addFolders(opt *client.SolveOpt, c build.Context) error {
	if err := mount(opt, contextFolder, c.Dir); err != nil {
		return err
	}
	if err := mount(opt, dockerfileFolder, filepath.Dir(c.Dockerfile)); err != nil {
		return err
	}
	for i, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		value, err := namedContext(opt, "context-"+strconv.Itoa(i), name, c.Contexts[name])
		if err != nil {
			return err
		}
		opt.FrontendAttrs["context:"+name] = value
	}
	return nil
}

// namedContext returns what the frontend calls it.
func namedContext(opt *client.SolveOpt, key, name, value string) (string, error) {
	if filepath.IsAbs(value) {
		return "local:" + key, mount(opt, key, value)
	}
	if strings.HasPrefix(value, "docker-image://") {
		return value, nil
	}
	return "", protocol.Unsupported("the context %s: BuildKit's Dockerfile frontend does not take %s", name, value)
}

// mount gives the builder a folder, and nothing outside of it wherever links may
// lead.
func mount(opt *client.SolveOpt, key, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return protocol.Invalid("the folder %s cannot be read: %w", dir, err)
	}
	opt.LocalMounts[key] = confined{fsutil.NewRootFS(fsutil.NewRoot(root)), root}
	return nil
}

type confined struct {
	fsutil.FS
	io.Closer
}

func closeFolders(opt client.SolveOpt) error {
	var err error
	for _, folder := range opt.LocalMounts {
		err = errors.Join(err, folder.(confined).Close())
	}
	return err
}

// pins has the builder take the base images that the input was made of, even if
// their tags move in between.
func pins(bases map[string]digest.Digest) *spb.Policy {
	policy := &spb.Policy{Version: 1}
	for _, base := range slices.Sorted(maps.Keys(bases)) {
		named, err := reference.ParseNormalizedNamed(base)
		if err != nil || bases[base] == "" {
			continue // the frontend says what is wrong with it
		}
		if _, pinned := named.(reference.Digested); pinned {
			continue
		}
		named = reference.TagNameOnly(named)
		policy.Rules = append(policy.Rules, &spb.Rule{
			Action:   spb.PolicyAction_CONVERT,
			Selector: &spb.Selector{Identifier: "docker-image://" + named.String(), MatchType: spb.MatchType_EXACT},
			Updates:  &spb.Update{Identifier: "docker-image://" + named.String() + "@" + bases[base].String()},
		})
	}
	if len(policy.Rules) == 0 {
		return nil
	}
	return policy
}
