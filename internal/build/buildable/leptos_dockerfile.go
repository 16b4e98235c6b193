package buildable

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/dockerfile"
)

// dockerfile compiles the application in one stage, of which the steps up to
// the dependencies change with the manifests only, and has another with what
// runs.
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

// cargoLeptos is the command that makes the server and the site. Cargo.toml has
// the features that it tells, so that only the others are given.
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
