package buildable

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const manifestName = "Cargo.toml"

// manifest is the part of a Cargo.toml that counts here.
type manifest struct {
	Package struct {
		Name     string
		Build    any
		Metadata struct{ Leptos leptosMetadata }
	}
	Workspace struct {
		Metadata struct{ Leptos []leptosMetadata }
	}
	Lib   target
	Bin   []target
	Bench []target
	Test  []target
	Ex    []target `toml:"example"`
}

type target struct{ Name, Path string }

// leptosMetadata is the configuration of cargo-leptos.
type leptosMetadata struct {
	Name        string
	Features    []string
	BinPackage  string   `toml:"bin-package"`
	BinTarget   string   `toml:"bin-target"`
	BinFeatures []string `toml:"bin-features"`
	LibPackage  string   `toml:"lib-package"`
	LibFeatures []string `toml:"lib-features"`
	OutputName  string   `toml:"output-name"`
	SiteRoot    string   `toml:"site-root"`
	SitePkgDir  string   `toml:"site-pkg-dir"`
}

func readManifest(name string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return m, errors.New("there is no Cargo.toml")
	}
	if err != nil {
		return m, err
	}
	if err := toml.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read Cargo.toml: %w", err)
	}
	return m, nil
}

// leptos is the metadata of the project, of which a workspace can have several.
func (m manifest) leptos(project string) (leptosMetadata, error) {
	list := m.Workspace.Metadata.Leptos
	if len(list) == 0 {
		return m.Package.Metadata.Leptos, nil
	}
	var names []string
	for _, l := range list {
		if l.Name == project || project == "" && len(list) == 1 {
			return l, nil
		}
		names = append(names, l.Name)
	}
	if project == "" {
		return leptosMetadata{}, fmt.Errorf("several projects in Cargo.toml; set project to one of %s", strings.Join(names, ", "))
	}
	return leptosMetadata{}, fmt.Errorf("project: Cargo.toml has no %q, but %s", project, strings.Join(names, ", "))
}

// complete adds the settings of Cargo.toml and, last, the defaults of cargo-leptos.
func (m manifest) complete(s leptosSettings) (leptosSettings, error) {
	l, err := m.leptos(s.Project)
	if err != nil {
		return s, err
	}
	s.Package = cmp.Or(s.Package, l.BinPackage, m.Package.Name)
	if s.Package == "" {
		return s, fmt.Errorf("package is required: Cargo.toml is that of a workspace and does not name one")
	}
	s.LibPackage = cmp.Or(s.LibPackage, l.LibPackage, m.Package.Name, s.Package)
	s.Bin = cmp.Or(s.Bin, l.BinTarget, s.Package)
	s.Features = slices.Concat(l.Features, s.Features)
	// On the command line they replace those of Cargo.toml.
	if len(s.BinFeatures) == 0 {
		s.BinFeatures = l.BinFeatures
	}
	if len(s.LibFeatures) == 0 {
		s.LibFeatures = l.LibFeatures
	}
	s.OutputName = cmp.Or(s.OutputName, l.OutputName, l.Name, m.Package.Name, s.Package)
	s.SiteRoot = cmp.Or(s.SiteRoot, l.SiteRoot, "target/site")
	s.SitePkgDir = cmp.Or(s.SitePkgDir, l.SitePkgDir, "pkg")
	s.Port = cmp.Or(s.Port, 3000)
	s.RustImage, s.RuntimeImage = cmp.Or(s.RustImage, rustImage), cmp.Or(s.RuntimeImage, runtimeImage)
	s.CargoLeptos = cmp.Or(s.CargoLeptos, cargoLeptosVersion)
	return s, nil
}

// writeManifests writes what determines the dependencies: every Cargo.toml, the lock
// file and cargo's configuration, with empty targets in place of the sources.
func (l *leptos) writeManifests(dir string) error {
	for _, e := range l.entries {
		name := path.Base(e.Path)
		switch {
		case e.Kind != 0:
			continue
		case name == manifestName:
			if err := l.writeTargets(dir, path.Dir(e.Path)); err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
		case name == "Cargo.lock", strings.HasPrefix(name, "rust-toolchain"), path.Base(path.Dir(e.Path)) == ".cargo":
		default:
			continue
		}
		if err := l.copy(e, filepath.Join(dir, filepath.FromSlash(e.Path))); err != nil {
			return err
		}
	}
	return nil
}

// writeTargets writes the targets of a package that are among its sources.
func (l *leptos) writeTargets(dir, folder string) error {
	m, err := readManifest(filepath.Join(l.root(), filepath.FromSlash(folder), manifestName))
	if err != nil {
		return err
	}
	build, _ := m.Package.Build.(string)
	programs := []string{"src/main.rs", cmp.Or(build, "build.rs")}
	for _, t := range slices.Concat(m.Bin, m.Bench, m.Test, m.Ex) {
		programs = append(programs, t.Path)
	}
	for _, e := range l.entries {
		below, inside := strings.CutPrefix(e.Path, path.Join(folder, "src/bin")+"/")
		if inside && (path.Ext(below) == ".rs" && !strings.Contains(below, "/") || path.Base(below) == "main.rs") {
			programs = append(programs, "src/bin/"+below)
		}
	}
	for _, program := range programs {
		if err := l.writeTarget(dir, path.Join(folder, program), "fn main() {}\n"); err != nil {
			return err
		}
	}
	return l.writeTarget(dir, path.Join(folder, cmp.Or(m.Lib.Path, "src/lib.rs")), "")
}

// writeTarget writes a source if the application has one of that name.
func (l *leptos) writeTarget(dir, name, text string) error {
	if _, ok := l.sums[name]; !ok || path.Ext(name) != ".rs" {
		return nil
	}
	return writeFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text))
}
