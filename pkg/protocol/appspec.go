package protocol

import (
	"cmp"
	"fmt"
	"strings"
)

// AppSpec is one releasable component as data: its images and one chart, or a chart
// alone. It names nothing that does work; that is the topology's.
type AppSpec struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// ProjectRoot is the folder that the other paths are relative to: in
	// harmony.yaml relative to that file, in a document absolute.
	ProjectRoot string `json:"projectRoot,omitempty"`
	// Image is where the app's container image comes from. An app may have none, when
	// its chart brings all images: no image is built or published for it.
	Image ImageSource `json:"image,omitzero"`
	// Images are further images of the same app and chart, by a name of the user's
	// choice. A plugin that takes them has [FeatureImages].
	Images map[string]AppImage `json:"images,omitempty"`
	// Chart is where the app's Helm chart comes from.
	Chart ChartSource `json:"chart"`
	// Targets holds the chart values of each target, by the target's name.
	Targets map[string]TargetValues `json:"targets,omitempty"`
	// Migrations are run in order before a release is deployed, by the step migrate of a
	// pipeline.
	Migrations []Migration `json:"migrations,omitempty"`
	// Smoke lists the checks that a deployed app has to pass. They run side by side, but
	// for those that need others.
	Smoke []SmokeCheck `json:"smoke,omitempty"`
	// Monitoring says what is watched of the app once it runs.
	Monitoring *Monitoring `json:"monitoring,omitempty"`
	// DependsOn names apps that are deployed before this one, where they are
	// part of the same run.
	DependsOn []string `json:"dependsOn,omitempty"`
}

// DocumentKind implements [Spec].
func (AppSpec) DocumentKind() Kind { return KindAppSpec }

// ImageSource says where an image comes from: a Dockerfile, a buildable, or an
// image that exists. Exactly one of Dockerfile, Buildable and Ref is set.
type ImageSource struct {
	// Repository is the path under the registry's prefix. When it is empty, it is the
	// app's name, or that of the app's image with a dash and the name of a further one.
	Repository string `json:"repository,omitempty"`
	// Ref is an image that exists: ghcr.io/org/app:1.2, with a tag, a digest or
	// both. The registry is docker.io when it names none.
	Ref string `json:"ref,omitempty"`
	// Mirror says whether the image of Ref is copied to the topology's registry;
	// true when absent. With false it is deployed from where it is.
	Mirror *bool `json:"mirror,omitempty"`
	// Dockerfile builds the image from a Dockerfile.
	Dockerfile *Dockerfile `json:"dockerfile,omitempty"`
	// Buildable builds the image without one.
	Buildable *Buildable `json:"buildable,omitempty"`
	// Platforms lists os/arch or os/arch/variant; linux on the architecture of
	// the building machine when empty. The image of Ref must have them; it keeps
	// the others too.
	Platforms []string `json:"platforms,omitempty"`
}

// Existing is the image of Ref with its registry and whole repository:
// docker.io/library/nginx:1.27 for nginx:1.27.
func (s ImageSource) Existing() (ImageRef, error) {
	ref, err := ParseImageRef(s.Ref)
	switch {
	case err != nil:
		return ImageRef{}, err
	case ref.Tag == "" && ref.Digest == "":
		return ImageRef{}, fmt.Errorf("image reference %q: needs a tag or a digest", s.Ref)
	case ref.Registry == "":
		ref.Registry = "docker.io"
	}
	if ref.Registry == "docker.io" && !strings.Contains(ref.Repository, "/") {
		ref.Repository = "library/" + ref.Repository
	}
	return ref, nil
}

// IsNone reports that the app has no image of its own.
func (s ImageSource) IsNone() bool { return s.Dockerfile == nil && s.Buildable == nil && s.Ref == "" }

// Stays reports an image that exists and is deployed from where it is.
func (s ImageSource) Stays() bool { return s.Ref != "" && s.Mirror != nil && !*s.Mirror }

// PublishedImage is the name of the app's image once it is published, without
// tag and digest: under url, that of the topology's OCIRegistry, or where it
// stays.
func (a AppSpec) PublishedImage(url string) (ImageRef, error) {
	if !a.Image.Stays() {
		return ParseImageRef(strings.Trim(url, "/") + "/" + a.Repository())
	}
	ref, err := a.Image.Existing()
	ref.Tag, ref.Digest = "", ""
	return ref, err
}

// Dockerfile is an image source described by a Dockerfile.
type Dockerfile struct {
	// Path of the Dockerfile, relative to the project root; Dockerfile in the
	// context when empty.
	Path string `json:"path,omitempty"`
	// Context folder, relative to the project root; the root when empty.
	Context string `json:"context,omitempty"`
	// Target is the stage to build; the last one when empty.
	Target string `json:"target,omitempty"`
	// Args are build arguments. They end up in the image's history: no secrets.
	Args map[string]string `json:"args,omitempty"`
	// Contexts are named contexts, by the name that FROM and --from use: a folder
	// relative to the project root, or docker-image://NAME.
	Contexts map[string]string `json:"contexts,omitempty"`
	// Secrets maps the id of a RUN --mount=type=secret to where its value is:
	// env:NAME, or file:PATH relative to the project root.
	Secrets map[string]string `json:"secrets,omitempty"`
	// SSH maps the id of a RUN --mount=type=ssh to where its keys are: env:NAME
	// of a variable with an agent's socket, such as env:SSH_AUTH_SOCK, or
	// file:PATH of a socket or private key.
	SSH map[string]string `json:"ssh,omitempty"`
}

// ChartSource says where the chart comes from. Exactly one of Path, URL, Builder and
// Workload is set.
type ChartSource struct {
	// Path of the chart's folder, relative to the project root.
	Path string `json:"path,omitempty"`
	// URL is where a chart is published: oci://registry.example.com/charts/redis, or
	// the https address of a chart repository, which has the chart Name.
	URL string `json:"url,omitempty"`
	// Name of the chart in the repository of an https URL.
	Name string `json:"name,omitempty"`
	// Version is that of the chart at URL, an exact semantic version.
	Version string `json:"version,omitempty"`
	// Keyring is a file of public keys, as gpg --export writes it, relative to the
	// project root. The chart at URL must have a provenance file that is signed with
	// one of them.
	Keyring string `json:"keyring,omitempty"`
	// PinImages has the chart at URL run its images by the digests in harmony.lock.
	PinImages bool `json:"pinImages,omitempty"`
	// Locked is what harmony.lock has of the chart at URL. It is filled in when the
	// project is read, and is not written into harmony.yaml.
	Locked *LockedChart `json:"locked,omitempty"`
	// Builder is an app plugin that makes the chart.
	Builder *ChartBuilder `json:"builder,omitempty"`
	// Workload describes the app; its chart is generated.
	Workload *Workload `json:"workload,omitempty"`
	// Image tells where the values of the chart at Path take the image; a list where
	// several components run it. When it is empty, the place is found when the chart is
	// packaged: by rendering the chart with the image in each place that could take it.
	// Other charts know it.
	Image ImagePlaces `json:"image,omitzero"`
}

// ImagePlaces tells where the chart's values take the image: Image, or the place
// in the chart that is generated for a Workload.
func (s ChartSource) ImagePlaces() ImagePlaces {
	if s.Workload != nil {
		return ImagePlaces{{Value: "image"}}
	}
	return s.Image
}

// ChartBuilder names the app plugin that makes the chart in Go.
type ChartBuilder struct {
	// Plugin is the executable, such as harmony-fleet; the app plugin on PATH
	// that offers the app when empty.
	Plugin string `json:"plugin,omitempty"`
}

// ChartImage names the values of a chart that take the image in one place. Each is
// a dotted path such as image.repository. Either Value stands alone, or
// Repository stands with Digest, Tag or both (and optionally Registry).
type ChartImage struct {
	// Value takes the whole reference, registry/repository:tag@digest.
	Value string `json:"value,omitempty"`
	// Registry takes the registry's host; Repository is then without it.
	Registry string `json:"registry,omitempty"`
	// Repository takes registry/repository.
	Repository string `json:"repository,omitempty"`
	// Tag takes the tag, and without Digest the tag with the digest,
	// 1.4.0@sha256:…, which a template of the form repository:tag renders to a
	// reference that is pinned.
	Tag string `json:"tag,omitempty"`
	// Digest takes sha256:…
	Digest string `json:"digest,omitempty"`
}

// Places says for people where in the values the image is, such as
// .Values.image.
func (c ChartImage) Places() string {
	switch c {
	case ChartImage{}:
		return "the chart's templates"
	case ChartImage{Value: c.Value}:
		return ".Values." + c.Value
	}
	return ".Values." + c.Repository + " and .Values." + cmp.Or(c.Digest, c.Tag)
}

// String prints the places as harmony.yaml has them:
// {repository: image.repository, tag: image.tag}.
func (c ChartImage) String() string {
	var fields []string
	for _, field := range []struct{ name, path string }{
		{"value", c.Value}, {"registry", c.Registry}, {"repository", c.Repository}, {"tag", c.Tag}, {"digest", c.Digest},
	} {
		if field.path != "" {
			fields = append(fields, field.name+": "+field.path)
		}
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// TargetValues are the chart values of one target. Files come first, in order,
// then Values; later wins.
type TargetValues struct {
	// Values override those of ValuesFiles.
	Values map[string]any `json:"values,omitempty"`
	// ValuesFiles are YAML files relative to the chart's folder, or to the
	// project root when the chart has no file of that name. SOPS may have encrypted
	// them, as YAML or JSON: only a deploy and a diff decrypt them.
	ValuesFiles []string `json:"valuesFiles,omitempty"`
}

// BuildContext is the answer of an executable harmony-buildable-NAME: the
// Dockerfile and context that it wrote into the folder that it was given.
type BuildContext struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Context is the context folder, relative to the folder given; that folder
	// when empty.
	Context string `json:"context,omitempty"`
	// Dockerfile is its path, relative to the folder given; Dockerfile in the
	// context when empty.
	Dockerfile string `json:"dockerfile,omitempty"`
	// Target is the stage to build; the last one when empty.
	Target string `json:"target,omitempty"`
	// Args are build arguments. They end up in the image's history: no secrets.
	Args map[string]string `json:"args,omitempty"`
	// Inputs are the files and folders that the context was made from, absolute
	// or relative to the project root; they need not exist. As long as they, the
	// AppSpec and the executable stay as they are, it is not run again. Without
	// any it is run each time.
	Inputs []string `json:"inputs,omitempty"`
}

// DocumentKind implements [Spec].
func (BuildContext) DocumentKind() Kind { return KindBuildContext }
