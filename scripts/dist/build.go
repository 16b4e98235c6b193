package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/pkg/protocol"
)

// platform is one that the suite is released for.
type platform struct{ os, arch string }

func platforms() []platform {
	return []platform{{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}}
}

// release is one version of the suite.
type release struct {
	root      string   // of the repository
	index     string   // folder of the manifests, in root
	url       string   // below which the archives are going to be
	version   string   // without v
	commands  []string // names of the folders in cmd
	platforms []platform
}

// folder is where everything of the release is made.
func (r release) folder() string { return filepath.Join(r.root, "dist", r.version) }

// file is the name of the archive of a command.
func (r release) file(command string, p platform) string {
	return fmt.Sprintf("%s_%s_%s_%s.tar.gz", command, r.version, p.os, p.arch)
}

// build makes the release, and moves it to its place once it is complete.
func (r release) build(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(r.folder()), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(r.folder()), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	archives := map[string]archive{}
	for _, p := range r.platforms {
		fmt.Fprintf(os.Stderr, "%s/%s\n", p.os, p.arch)
		if err := r.platform(ctx, work, p, archives); err != nil {
			return err
		}
	}
	if err := writeSums(filepath.Join(work, "SHA256SUMS"), archives); err != nil {
		return err
	}
	if err := r.manifests(filepath.Join(work, "plugin-index"), archives); err != nil {
		return err
	}
	if err := os.RemoveAll(r.folder()); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, r.folder())
}

// archive is what is known of a file once it is written.
type archive struct {
	sha256 string
	size   int64
}

// platform builds and packs all commands for one platform.
func (r release) platform(ctx context.Context, work string, p platform, archives map[string]archive) error {
	bin := filepath.Join(work, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := r.compile(ctx, bin, p); err != nil {
		return err
	}
	for _, command := range r.commands {
		name := r.file(command, p)
		files := []packed{{command, filepath.Join(bin, command), 0o755}, {"LICENSE", filepath.Join(r.root, "LICENSE"), 0o644}}
		if err := pack(filepath.Join(work, name), files); err != nil {
			return err
		}
		a, err := measure(filepath.Join(work, name))
		if err != nil {
			return err
		}
		archives[name] = a
	}
	return nil
}

// compile builds the commands with nothing of this machine in them: no paths, no
// state of git, no settings of the environment.
func (r release) compile(ctx context.Context, bin string, p platform) error {
	absolute, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	args := []string{
		"go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X github.com/nationtech/harmony/internal/plugins/suite.version=" + r.version, "-o", absolute + "/",
	}
	for _, command := range r.commands {
		args = append(args, "./cmd/"+command)
	}
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOFIPS140", "GODEBUG"}, name)
	})
	env = append(env, "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off")
	_, err = process.Output(ctx, process.Command{Args: args, Dir: r.root, Env: env})
	return err
}

// measure hashes a file.
func measure(path string) (archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return archive{}, err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	return archive{hex.EncodeToString(hash.Sum(nil)), size}, err
}

// writeSums writes what sha256sum --check reads.
func writeSums(path string, archives map[string]archive) error {
	var text strings.Builder
	for _, name := range sortedKeys(archives) {
		fmt.Fprintf(&text, "%s  %s\n", archives[name].sha256, name)
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// manifests writes the index of this release: what the manifests in the
// repository say, with the version, hashes and sizes of what was built.
func (r release) manifests(folder string, archives map[string]archive) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, command := range r.plugins() {
		m, _, err := r.manifest(command)
		if err != nil {
			return err
		}
		m.Version = r.version
		m.Protocol = protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax}
		m.Platforms = nil
		for _, p := range r.platforms {
			a := archives[r.file(command, p)]
			m.Platforms = append(m.Platforms, index.Platform{OS: p.os, Arch: p.arch, Artifact: artifact.Artifact{URI: r.uri(command, p), SHA256: a.sha256, Size: a.size}})
		}
		text, err := config.Encode(m)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, m.Name+".yaml"), text, 0o644); err != nil {
			return err
		}
	}
	if len(r.plugins()) == 0 {
		return nil
	}
	_, err := index.Build(folder)
	return err
}

// takeManifests copies the manifests of a build into the repository.
func (r release) takeManifests() error {
	for _, command := range r.plugins() {
		text, err := os.ReadFile(filepath.Join(r.folder(), "plugin-index", filepath.Base(r.path(command))))
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.path(command), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r release) uri(command string, p platform) string {
	return r.url + "/v" + r.version + "/" + r.file(command, p)
}
