package protocol

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
)

// Buildable is an image source that needs no Dockerfile.
type Buildable struct {
	// Type names the kind of source: "go" compiles a main package, "static"
	// serves a folder of files, "rust-leptos" compiles a Leptos application; any
	// other NAME is the executable harmony-buildable-NAME.
	Type string `json:"type"`
	// Folder is what static serves, relative to the project root.
	Folder string `json:"folder,omitempty"`
	// Settings are those of the other types, handed to them as they are.
	Settings map[string]any `json:"settings,omitempty"`
	// Main is the package to compile, relative to the project root, such as
	// ./cmd/operator; "." when empty. It and the fields below are of go.
	Main string `json:"main,omitempty"`
	// LDFlags are flags for the Go linker, such as -X main.name=value. In them,
	// {version} stands for metadata.version, {commit} for the full hash of git's
	// HEAD, with -dirty behind it if a tracked file has changed, and {date} for
	// SOURCE_DATE_EPOCH, else the time of that commit, as RFC 3339 in UTC.
	LDFlags []string `json:"ldflags,omitempty"`
	// Tags are Go build tags.
	Tags []string `json:"tags,omitempty"`
	// CGO compiles with this machine's C compiler, for this machine's platform.
	CGO bool `json:"cgo,omitempty"`
	// Base is the image that the program is put on, as NAME@sha256:…; scratch or
	// empty is an image with CA certificates and the users root and nonroot.
	Base string `json:"base,omitempty"`
	// Files maps files and folders, relative to the project root, to their paths in
	// the image, which are absolute. A file gets its own name in a folder when the
	// path ends with a slash.
	Files map[string]string `json:"files,omitempty"`
	// WorkingDir is the working directory, absolute; / when empty.
	WorkingDir string `json:"workingDir,omitempty"`
	// Env is the environment of the program. It is visible to everybody who can
	// pull the image: no secrets.
	Env map[string]string `json:"env,omitempty"`
	// Entrypoint is the program's name in /app, or its absolute path; the name
	// that go install gives it when empty.
	Entrypoint string `json:"entrypoint,omitempty"`
	// User runs the program, as USER or USER:GROUP, names or numbers; 65532:65532
	// when empty. Without a base the only names are root and nonroot.
	User string `json:"user,omitempty"`
	// SBOM puts the list of the Go modules in the program next to the image, as an
	// SPDX document in an attestation.
	SBOM bool `json:"sbom,omitempty"`
}

var (
	entrypointPattern = newPattern(`^(/?[A-Za-z0-9_][A-Za-z0-9_.-]*|(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)$`)
	userPattern       = newPattern(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})(:([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}))?$`)
	basePattern       = newPattern(`^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$`)
)

func (b Buildable) validate(p *problems, field string) {
	p.must(b.Type != "", field+".type", "is required, for example go")
	p.local(field+".main", b.Main)
	p.local(field+".folder", b.Folder)
	p.must(b.Base == "" || basePattern.MatchString(b.Base), field+".base", "%q is not an image, NAME@sha256:…", b.Base)
	p.must(b.Entrypoint == "" || entrypointPattern.MatchString(b.Entrypoint), field+".entrypoint",
		"%q is neither a name nor an absolute path, for example operator or /home/app/operator", b.Entrypoint)
	p.must(b.User == "" || userPattern.MatchString(b.User), field+".user", "%q is not a user, for example 1000:1000", b.User)
	if b.WorkingDir != "" {
		p.imagePath(field+".workingDir", b.WorkingDir)
	}
	for name, value := range b.Env {
		at := field + ".env." + name
		p.must(variablePattern.MatchString(name), at, "%q is not the name of a variable", name)
		p.must(!strings.ContainsFunc(value, unicode.IsControl), at, "has a line break or another control character, which ENV cannot hold")
	}
	b.validateFiles(p, field+".files")
}

func (b Buildable) validateFiles(p *problems, field string) {
	taken := map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(b.Files)) {
		to, at := b.Files[from], field+"."+from
		p.must(from != "", field, "has a path without a name")
		p.local(at, from)
		p.imagePath(at, to)
		if other, twice := taken[to]; twice && !strings.HasSuffix(to, "/") {
			p.add(at, "%s is also the place of %s", to, other)
		}
		taken[to] = from
	}
}

// imagePath requires an absolute path that a Dockerfile can have.
func (p *problems) imagePath(field, name string) {
	clean := path.Clean(name)
	p.must(path.IsAbs(name) && (name == clean || name == clean+"/"), field, "%q is not an absolute path in the image, for example /home/app", name)
	p.must(!strings.ContainsAny(name, `$\`) && !strings.ContainsFunc(name, unicode.IsControl), field, "%q has a $, a backslash or a control character", name)
}
