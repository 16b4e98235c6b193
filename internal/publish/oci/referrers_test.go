package oci

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/pkg/protocol"
)

// withReferrers is a registry with the referrers API; handle may answer in its place.
func withReferrers(t *testing.T, handle func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithReferrersSupport(true))
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle == nil || !handle(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
}

// statement is an artifact of one layer, such as a signature.
func statement(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(512, 1)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), "application/vnd.example.statement")
}

// attached puts an artifact that refers to a manifest into the repository.
func attached(t *testing.T, repository string, subject partial.Describable) v1.Image {
	t.Helper()
	d, err := partial.Descriptor(subject)
	if err != nil {
		t.Fatal(err)
	}
	made := mutate.Subject(statement(t), v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}).(v1.Image)
	put(t, repository+"@"+digestOf(t, made), made)
	return made
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	digest, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func put(t *testing.T, reference string, image v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err == nil {
		err = remote.Write(ref, image)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cosignTag is the tag of what refers to the digest.
func cosignTag(digest, end string) string { return strings.Replace(digest, ":", "-", 1) + end }

// refer are the digests of what refers to a digest of the repository.
func refer(t *testing.T, repository, digest string) []string {
	t.Helper()
	ref, err := name.NewDigest(repository + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range manifest.Manifests {
		all = append(all, d.Digest.String())
	}
	return all
}

func (e *events) explained() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, event := range e.all {
		if event.Phase == protocol.PhaseExplain {
			lines = append(lines, event.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// What refers to an image comes with it, from registries with the referrers API and
// without, to either: to the index, to an image of it, to another artifact, and by
// cosign's tags.
func TestReferrersComeWithAnImage(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		apart := func(api bool) string {
			if api {
				return withReferrers(t, nil)
			}
			return harmonyRegistry(t)
		}
		for i, way := range [][2]string{{apart(true), host}, {apart(false), withReferrers(t, nil)}, {host, host}} {
			from, to := way[0], way[1]
			ref := from + "/org/signed:1.2"
			image, index := foreign(t, ref)
			repository := from + "/org/signed"
			manifest, err := index.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			platform, err := index.Image(manifest.Manifests[0].Digest)
			if err != nil {
				t.Fatal(err)
			}
			first, second, ofPlatform := attached(t, repository, index), attached(t, repository, index), attached(t, repository, platform)
			ofFirst := attached(t, repository, first)
			signature := statement(t)
			put(t, repository+":"+cosignTag(image.Digest, ".sig"), signature)

			mirror := fmt.Sprintf("%s/mirror-%d", to, i)
			env := environment(mirror)
			var told events
			env.Progress = told.add
			if _, err := newRegistry(t, env).PushImage(t.Context(), existing("1.4.0", ref), image); err != nil {
				t.Fatalf("from %s to %s: %v", from, to, err)
			}
			mirrored := mirror + "/fleet-operator"
			holds(t, mirrored+":1.4.0", image.Digest)
			holds(t, mirrored+":"+cosignTag(image.Digest, ".sig"), digestOf(t, signature))
			for subject, want := range map[string][]string{
				image.Digest:          {digestOf(t, first), digestOf(t, second)},
				digestOf(t, platform): {digestOf(t, ofPlatform)},
				digestOf(t, first):    {digestOf(t, ofFirst)},
			} {
				got := refer(t, mirrored, subject)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s has %q, want %q", subject, got, want)
				}
				for _, digest := range got {
					holds(t, mirrored+"@"+digest, digest)
				}
			}
			if text := told.explained(); text != "copied with "+ref+": 5 artifacts that refer to it" {
				t.Errorf("told %q", text)
			}
		}
	})
}

// A signature of one's own stays when the image is copied once more.
func TestOwnSignatureStays(t *testing.T) {
	abroad, host := harmonyRegistry(t), harmonyRegistry(t)
	ref := abroad + "/org/app:1.2"
	image, _ := foreign(t, ref)
	tag := cosignTag(image.Digest, ".sig")
	theirs, own := statement(t), statement(t)
	put(t, abroad+"/org/app:"+tag, theirs)
	put(t, host+"/fleet-operator:"+tag, own)
	env := environment(host)
	var told events
	env.Progress = told.add
	if _, err := newRegistry(t, env).PushImage(t.Context(), existing("1.4.0", ref), image); err != nil {
		t.Fatal(err)
	}
	holds(t, host+"/fleet-operator:"+tag, digestOf(t, own))
	holds(t, host+"/fleet-operator@"+digestOf(t, theirs), digestOf(t, theirs))
	if text := told.explained(); !strings.Contains(text, "not copied with "+ref+": the tag "+tag) {
		t.Errorf("told %q", text)
	}
}

// A registry may know no referrers, or not tell of them. What is listed and gone is told;
// what is there and cannot be read fails, before the version has its tag.
func TestReferrersThatCannotBeRead(t *testing.T) {
	for what, test := range map[string]struct {
		path   string // of what is answered
		status int
		told   string
		fails  bool
	}{
		"no referrers":             {"/referrers/", http.StatusNotFound, "", false},
		"referrers for nobody":     {"/referrers/", http.StatusForbidden, "referrers of sha256:", false},
		"cosign's tags for nobody": {".sig", http.StatusForbidden, ".sig: the registry does not tell", false},
		"referrers that fail":      {"/referrers/", http.StatusBadGateway, "", true},
		"one that is gone":         {"{one}", http.StatusNotFound, "{one}: it is listed, and does not exist", false},
		"one that is forbidden":    {"{one}", http.StatusForbidden, "", true},
	} {
		t.Run(what, func(t *testing.T) {
			closed := ""
			abroad := withReferrers(t, func(w http.ResponseWriter, r *http.Request) bool {
				if closed == "" || !strings.Contains(r.URL.Path, closed) || r.Method != http.MethodGet && r.Method != http.MethodHead {
					return false
				}
				w.WriteHeader(test.status)
				return true
			})
			host := harmonyRegistry(t)
			ref := abroad + "/org/app:1.2"
			image, index := foreign(t, ref)
			one := digestOf(t, attached(t, abroad+"/org/app", index))
			closed = strings.ReplaceAll(test.path, "{one}", one)

			env := environment(host)
			var told events
			env.Progress = told.add
			_, err := newRegistry(t, env).PushImage(t.Context(), existing("1.4.0", ref), image)
			if test.fails {
				if err == nil || !strings.Contains(err.Error(), "read what refers to "+abroad+"/org/app@"+image.Digest) {
					t.Errorf("%v", err)
				}
				lacks(t, host+"/fleet-operator:1.4.0")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			holds(t, host+"/fleet-operator:1.4.0", image.Digest)
			want := strings.ReplaceAll(test.told, "{one}", one)
			if text := told.explained(); (want == "") != (text == "") || !strings.Contains(text, want) {
				t.Errorf("told %q, want %q", text, want)
			}
		})
	}
}

// There is an end to what comes with an image.
func TestReferrersHaveLimits(t *testing.T) {
	abroad := withReferrers(t, nil)
	ref := abroad + "/org/app:1.2"
	image, index := foreign(t, ref)
	var last v1.Image
	for range 3 {
		last = attached(t, abroad+"/org/app", index)
	}
	attached(t, abroad+"/org/app", attached(t, abroad+"/org/app", last)) // two steps further
	manifest, err := last.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size := manifest.Config.Size + manifest.Layers[0].Size
	for what, test := range map[string]struct {
		limits
		copied int
		told   string
	}{
		"number": {limits{artifacts: 2, bytes: 1 << 20, depth: 3}, 2, "more than 2 artifacts"},
		"size":   {limits{artifacts: 9, bytes: 5 * size / 2, depth: 3}, 2, "the artifacts have more than 0 MiB"},
		"depth":  {limits{artifacts: 9, bytes: 1 << 20, depth: 2}, 4, ""},
	} {
		t.Run(what, func(t *testing.T) {
			host := harmonyRegistry(t)
			env := environment(host)
			var told events
			env.Progress = told.add
			c := fastClient(t, env, "spec.ociRegistry", nil)
			c.limits = test.limits
			if _, err := registryOf(c).PushImage(t.Context(), existing("1.4.0", ref), image); err != nil {
				t.Fatal(err)
			}
			if text := told.explained(); !strings.Contains(text, fmt.Sprintf("%d artifacts that refer", test.copied)) || !strings.Contains(text, test.told) {
				t.Errorf("told %q", text)
			}
		})
	}
}

// An artifact of a type that nobody knows is left where it is.
func TestUnknownReferrerIsTold(t *testing.T) {
	abroad, host := harmonyRegistry(t), harmonyRegistry(t)
	ref := abroad + "/org/app:1.2"
	image, _ := foreign(t, ref)
	tag, err := name.NewTag(abroad + "/org/app:" + cosignTag(image.Digest, ""))
	if err != nil {
		t.Fatal(err)
	}
	made := statement(t)
	put(t, abroad+"/org/app@"+digestOf(t, made), made)
	digest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	list := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{MediaType: "application/vnd.example.future", Digest: digest}}), types.OCIImageIndex)
	if err := remote.Tag(tag, list); err != nil {
		t.Fatal(err)
	}
	env := environment(host)
	var told events
	env.Progress = told.add
	if _, err := newRegistry(t, env).PushImage(t.Context(), existing("1.4.0", ref), image); err != nil {
		t.Fatal(err)
	}
	if text := told.explained(); !strings.Contains(text, digest.String()+`: it is of the unknown type "application/vnd.example.future"`) {
		t.Errorf("told %q", text)
	}
}
