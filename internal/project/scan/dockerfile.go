package scan

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

func isDockerfile(base string) bool {
	return !strings.HasSuffix(base, ".dockerignore") && (base == "Dockerfile" || base == "Containerfile" ||
		strings.HasPrefix(base, "Dockerfile.") || strings.HasSuffix(base, ".Dockerfile") || strings.HasSuffix(base, ".dockerfile"))
}

// variantOf is the word in a Dockerfile's name that says what it is for: api in
// Dockerfile.api.
func variantOf(base string) string {
	for _, word := range []string{strings.TrimPrefix(base, "Dockerfile."), strings.TrimSuffix(base, ".Dockerfile"), strings.TrimSuffix(base, ".dockerfile")} {
		if word != base {
			return word
		}
	}
	return ""
}

// Words in the names of folders, and of Dockerfiles, that are for developers.
var (
	devFolders  = strings.Fields("dev devcontainer test tests e2e hack tools example examples")
	devVariants = append(strings.Fields("development testing ci debug local base builder build lint"), devFolders...)
)

func readDockerfile(found *Found, s *scanner, name string, data []byte) {
	folder, variant := path.Dir(name), variantOf(path.Base(name))
	if slices.Contains(devVariants, strings.ToLower(variant)) || slices.ContainsFunc(strings.Split(folder, "/"), isForDevelopers) {
		found.note(name, 0, "an image for developers, by its name; it is no app")
		return
	}
	file := parseDockerfile(name, data)
	stage := file.stage("")
	image := Image{Name: variant, File: name, Folder: folder, origin: ofDockerfile}
	if variant == "" && folder != "." {
		image.Name = path.Base(folder)
	}
	if folder != "." && !s.has(folder, file.sources) && s.has(".", file.sources) {
		image.Folder = "."
	}
	source := &protocol.Dockerfile{Path: name}
	if image.Folder != "." {
		source.Context = image.Folder
	}
	image.Source.Dockerfile = source
	image.runsAs(name, stage)
	found.note(name, 0, "an image%s", describeStage(stage))
	found.Images = append(found.Images, image)
}

func isForDevelopers(folder string) bool {
	return slices.Contains(devFolders, strings.ToLower(folder))
}

// has reports whether a folder has all files that a Dockerfile copies.
func (s *scanner) has(folder string, sources []string) bool {
	return !slices.ContainsFunc(sources, func(source string) bool {
		matches, err := fs.Glob(s.fsys, path.Join(folder, strings.Trim(source, "/")))
		return err == nil && len(matches) == 0
	})
}

func describeStage(s stage) string {
	var text string
	for _, p := range s.ports {
		text += fmt.Sprintf(", port %d", p.Port)
	}
	if s.user != "" {
		text += ", user " + s.user
	}
	return text
}

// runsAs takes what a Dockerfile says about how the image runs.
func (i *Image) runsAs(file string, s stage) {
	i.Workload.Ports = s.ports
	i.Open = append(i.Open, s.open...)
	if len(s.ports) == 0 && len(s.open) == 0 {
		i.Open = append(i.Open, Note{file, 0, "no EXPOSE: add chart.workload.ports if the app listens"})
	}
	for _, p := range s.ports {
		if p.Port < 1024 {
			i.Open = append(i.Open, Note{file, s.portLine, fmt.Sprintf("port %d needs root on some clusters, and the generated chart does not run as root", p.Port)})
		}
	}
	user, group, _ := strings.Cut(s.user, ":")
	uid, err := strconv.ParseInt(user, 10, 64)
	switch gid, failed := strconv.ParseInt(group, 10, 64); {
	case s.user == "" || user == "root" || err == nil && uid == 0:
		i.Open = append(i.Open, Note{file, s.userLine, "the image runs as root; the generated chart runs it as user 65532"})
	case user == "nonroot" || err == nil && uid == 65532: // the generated chart's own
	case err != nil:
		i.Open = append(i.Open, Note{file, s.userLine, fmt.Sprintf("user %s is not a number; the generated chart runs it as 65532, or as chart.workload.security.runAsUser", user)})
	default:
		i.Workload.Security = &protocol.WorkloadSecurity{RunAsUser: &uid}
		if failed == nil && gid > 0 {
			i.Workload.Security.RunAsGroup = &gid
		}
	}
}

// dockerfile is what init looks at in a Dockerfile. The parser that builds use is not
// linked here: it would weigh more than the rest of harmony.
type dockerfile struct {
	stages []stage
	// sources are the files that are copied from the context.
	sources []string
}

// stage is one stage, with what it has from its base.
type stage struct {
	name     string
	ports    []protocol.WorkloadPort
	portLine int
	user     string
	userLine int
	open     []Note
	env      map[string]string
}

// stage is the stage of that name or number, the last one for "".
func (f dockerfile) stage(name string) stage {
	for i, s := range f.stages {
		if name != "" && (strings.EqualFold(s.name, name) || strconv.Itoa(i) == name) {
			return s
		}
	}
	if len(f.stages) == 0 {
		return stage{}
	}
	return f.stages[len(f.stages)-1]
}
