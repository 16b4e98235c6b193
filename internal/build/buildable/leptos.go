package buildable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
)

// The default images that a Leptos application is compiled in and runs on, and the
// default version of cargo-leptos.
const (
	rustImage          = "docker.io/library/rust:1-bookworm"
	runtimeImage       = "gcr.io/distroless/cc-debian12:nonroot"
	cargoLeptosVersion = "0.3.6"
)

// The folders in the context of a Leptos application.
const (
	manifestFolder = "manifests"
	sourceFolder   = "source"
)

// leptosSettings are image.buildable.settings of rust-leptos. Missing ones come from
// Cargo.toml, as with cargo-leptos.
type leptosSettings struct {
	// Project is one of several in [[workspace.metadata.leptos]].
	Project string `json:"project"`
	// Package has the server, and LibPackage the client; Bin is the server's
	// binary.
	Package    string `json:"package"`
	LibPackage string `json:"libPackage"`
	Bin        string `json:"bin"`
	// Features are for both, in addition to those in Cargo.toml.
	Features    []string `json:"features"`
	BinFeatures []string `json:"binFeatures"`
	LibFeatures []string `json:"libFeatures"`
	// OutputName is that of the client's files, SitePkgDir their folder in the
	// site, and SiteRoot the folder in which cargo-leptos makes the site.
	OutputName string `json:"outputName"`
	SitePkgDir string `json:"sitePkgDir"`
	SiteRoot   string `json:"siteRoot"`
	// Port that the server listens on; 3000 when absent.
	Port int `json:"port"`
	// Env is the environment of the server. No secrets.
	Env map[string]string `json:"env"`
	// RustImage compiles and RuntimeImage runs. CargoLeptos is the version that
	// is installed when RustImage has none.
	RustImage    string `json:"rustImage"`
	RuntimeImage string `json:"runtimeImage"`
	CargoLeptos  string `json:"cargoLeptos"`
}

// leptos is an application of Leptos with a server, compiled by cargo-leptos.
type leptos struct {
	options  Options
	folder   string // of the workspace, in the project
	given    leptosSettings
	settings leptosSettings // with what Cargo.toml says
	digests  *inputs.Digests
	entries  []dockerfile.Entry
	items    []inputs.Item     // the entries
	sums     map[string]string // of files, by path
}

func openLeptos(o Options) (Source, error) {
	if err := o.fields("folder", "settings"); err != nil {
		return nil, err
	}
	l := &leptos{options: o, folder: cmp.Or(o.App.Image.Buildable.Folder, ".")}
	if err := o.settings(&l.given); err != nil {
		return nil, err
	}
	if err := l.given.validate(o); err != nil {
		return nil, err
	}
	l.digests = inputs.OpenDigests(filepath.Join(o.Memory, "rust-leptos.digests"))
	return l, nil
}

func (l *leptos) root() string { return filepath.Join(l.options.App.ProjectRoot, l.folder) }

func (l *leptos) Inputs(ctx context.Context) (dockerfile.Context, []inputs.Item, error) {
	if err := l.survey(ctx); err != nil {
		return dockerfile.Context{}, nil, err
	}
	manifest, err := readManifest(filepath.Join(l.root(), manifestName))
	if err != nil {
		return dockerfile.Context{}, nil, l.options.invalid("folder", "%s: %v", l.folder, err)
	}
	if l.settings, err = manifest.complete(l.given); err != nil {
		return dockerfile.Context{}, nil, l.options.invalid("settings", "%v", err)
	}
	if err := l.settings.validate(l.options); err != nil {
		return dockerfile.Context{}, nil, err
	}
	settings, err := json.Marshal(l.settings)
	if err != nil {
		return dockerfile.Context{}, nil, err
	}
	items := []inputs.Item{{Kind: inputs.Setting, Name: typeLeptos, Value: string(settings)}}
	l.digests.Save()
	return l.dockerfile(), append(items, l.items...), nil
}

// survey lists the sources: what the project's ignore file does not exclude, without
// the output of cargo and git's files.
func (l *leptos) survey(ctx context.Context) error {
	root, err := dockerfile.OpenFolder(l.root(), "", "**/target", "**/.git", "**/node_modules")
	if err != nil {
		return l.options.invalid("folder", "%s is not a folder in the project", l.folder)
	}
	defer root.Close()
	if l.entries, l.items, err = entries(ctx, root, l.digests); err != nil {
		return fmt.Errorf("%s: %w", l.folder, err)
	}
	l.sums = map[string]string{}
	for _, item := range l.items {
		l.sums[item.Name] = item.Value
	}
	return nil
}

// entries lists everything in a folder, also as items.
func entries(ctx context.Context, root *dockerfile.Folder, digests *inputs.Digests) ([]dockerfile.Entry, []inputs.Item, error) {
	all, err := root.Entries(ctx)
	var items []inputs.Item
	for _, e := range all {
		var value string
		if err == nil {
			value, err = valueOf(e, digests)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			break
		}
		items = append(items, inputs.Item{Kind: inputs.File, Name: e.Path, Value: value, Path: e.Host})
	}
	return all, items, err
}

// valueOf is what counts of an entry of a context.
func valueOf(e dockerfile.Entry, digests *inputs.Digests) (string, error) {
	switch e.Kind {
	case fs.ModeDir:
		return "folder", nil
	case fs.ModeSymlink:
		return "link " + e.Link, nil
	}
	sum, err := digests.Known(e.Host, e.Info, e.Open)
	return checkoutValue(e.Info, sum), err
}

// checkoutValue is valueOf a file.
func checkoutValue(info fs.FileInfo, sum string) string {
	return fmt.Sprintf("%o %s", dockerfile.Checkout(info.Mode()), sum)
}

func (l *leptos) Context(ctx context.Context, dir string) (dockerfile.Context, error) {
	l.options.progress("pack", fmt.Sprintf("%d sources", len(l.entries)))
	for _, e := range l.entries {
		if err := ctx.Err(); err != nil {
			return dockerfile.Context{}, err
		}
		if err := l.copy(e, filepath.Join(dir, sourceFolder, filepath.FromSlash(e.Path))); err != nil {
			return dockerfile.Context{}, err
		}
	}
	if err := l.writeManifests(filepath.Join(dir, manifestFolder)); err != nil {
		return dockerfile.Context{}, err
	}
	return writeDockerfile(dir, l.dockerfile())
}

// copy copies a source with the mode that a checkout gives it.
func (l *leptos) copy(e dockerfile.Entry, to string) error {
	if e.Kind == fs.ModeSymlink && (path.IsAbs(e.Link) || !filepath.IsLocal(path.Join(path.Dir(e.Path), e.Link))) {
		return l.options.invalid("folder", "%s is a symbolic link to %s, which leads out of it", path.Join(l.folder, e.Path), e.Link)
	}
	return copyEntry(e, l.sums[e.Path], to)
}

// copyEntry copies an entry, whose valueOf is known, with the mode that a checkout
// gives it.
func copyEntry(e dockerfile.Entry, value, to string) error {
	switch e.Kind {
	case fs.ModeDir:
		return os.MkdirAll(to, 0o755)
	case fs.ModeSymlink:
		return os.Symlink(e.Link, to)
	}
	_, sum, _ := strings.Cut(value, " ")
	if err := copyFile(siteFile{name: e.Path, host: e.Host, digest: sum}, to); err != nil {
		return err
	}
	return os.Chmod(to, dockerfile.Checkout(e.Info.Mode()))
}

// dockerfile compiles the application in one stage, whose steps up to the dependencies
// depend on the manifests only, and runs it in another.
func (l *leptos) dockerfile() dockerfile.Context {
	w, s := newWriter("buildable rust-leptos: "+l.folder), l.settings
	w.line("FROM %s AS build", s.RustImage)
	w.line("WORKDIR /src")
	w.line("# The tools, unless the image has them.")
	w.line("RUN command -v cargo-leptos || cargo install --locked cargo-leptos@%s", s.CargoLeptos)
	w.line("# The dependencies: manifests, and programs that do nothing.")
	w.line("COPY %s/ ./", manifestFolder)
	w.line("RUN if command -v rustup; then rustup target add wasm32-unknown-unknown; fi")
	w.line("RUN %s && \\", l.cargo("target", s.BinFeatures, "--package="+s.Package, "--bin="+s.Bin))
	w.line("    %s", l.cargo("target/front", s.LibFeatures, "--package="+s.LibPackage, "--lib", "--target=wasm32-unknown-unknown"))
	w.line("# The application. Cargo goes by times, and the programs above are younger.")
	w.line("COPY %s/ ./", sourceFolder)
	w.line("ENV LEPTOS_OUTPUT_NAME=%s LEPTOS_SITE_ROOT=%s LEPTOS_SITE_PKG_DIR=%s", s.OutputName, s.SiteRoot, s.SitePkgDir)
	w.line("RUN find . -path ./target -prune -o -type f -name '*.rs' -exec touch {} + && \\")
	w.line("    %s && \\", l.cargoLeptos())
	w.line("    mkdir -p /out && cp -R %s /out/site && cp target/release/%s /out/%s && \\", s.SiteRoot, s.Bin, s.Bin)
	w.line("    if [ -f target/release/hash.txt ]; then cp target/release/hash.txt /out/hash.txt; fi")
	w.line("")
	w.line("FROM %s", s.RuntimeImage)
	w.line("WORKDIR /app")
	w.line("COPY --from=build /out/ ./")
	env := s.environment()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		w.line("ENV %s=%s", name, quote(env[name]))
	}
	w.line("EXPOSE %d", s.Port)
	w.line("USER %d:%d", user, user)
	w.line("ENTRYPOINT %s", jsonList([]string{"/app/" + s.Bin}))
	return w.context()
}

// cargo is the command by which cargo-leptos compiles, for the dependencies.
func (l *leptos) cargo(target string, features []string, which ...string) string {
	args := append([]string{"cargo", "build", "--release"}, which...)
	args = append(args, "--target-dir="+target, "--no-default-features")
	if features := slices.Concat(l.settings.Features, features); len(features) > 0 {
		args = append(args, "--features="+strings.Join(features, ","))
	}
	if _, locked := l.sums["Cargo.lock"]; locked {
		args = append(args, "--locked")
	}
	return strings.Join(args, " ")
}

// cargoLeptos is the command that makes the server and the site. It reads the features
// in Cargo.toml, so only the others are passed.
func (l *leptos) cargoLeptos() string {
	args := []string{"cargo leptos build --release"}
	if l.given.Project != "" {
		args = append(args, "--project="+l.given.Project)
	}
	for _, option := range []struct {
		name     string
		features []string
	}{{"features", l.given.Features}, {"bin-features", l.given.BinFeatures}, {"lib-features", l.given.LibFeatures}} {
		if len(option.features) > 0 {
			args = append(args, fmt.Sprintf("--%s=%s", option.name, strings.Join(option.features, ",")))
		}
	}
	return strings.Join(args, " ")
}
