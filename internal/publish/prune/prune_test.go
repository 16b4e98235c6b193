package prune

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/protocol"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func entry(tag string, n int, days int) Entry {
	e := Entry{Repository: "localhost:5000/fleet/operator", Tag: tag, Digest: digest(n), version: develops(tag)}
	if days >= 0 {
		created := now.Add(-time.Duration(days) * 24 * time.Hour)
		e.Created = &created
	}
	return e
}

func TestDecide(t *testing.T) {
	used := NewUses()
	used.add("Helm release a/fleet", "image: localhost:5000/fleet/operator@"+digest(4))
	used.add("pod a/x", "image: localhost:5000/fleet/operator:1.4.1-dev.5.gaaaaaaa5 and fleet/operator:1.4.1-dev.66.gaaaaaaa6")
	tests := []struct {
		name    string
		entries []Entry
		others  map[string]string
		options Options
		want    []string // tag: reason, of what stays or goes
	}{
		{"the newest stay", []Entry{entry("1.4.1-dev.2.gaaaaaaa2", 2, 9), entry("1.4.1-dev.10.gaaaaaa10", 10, 1), entry("1.4.1-dev.3.gaaaaaaa3", 3, 8)}, nil, Options{Keep: 2},
			[]string{"keep 1.4.1-dev.10.gaaaaaa10", "keep 1.4.1-dev.3.gaaaaaaa3", "remove 1.4.1-dev.2.gaaaaaaa2"}},
		{"what is used stays", []Entry{entry("1.4.1-dev.4.gaaaaaaa4", 4, 9), entry("1.4.1-dev.5.gaaaaaaa5", 5, 9), entry("1.4.1-dev.6.gaaaaaaa6", 6, 9)}, nil, Options{},
			[]string{"remove 1.4.1-dev.6.gaaaaaaa6", "keep 1.4.1-dev.5.gaaaaaaa5", "keep 1.4.1-dev.4.gaaaaaaa4"}},
		{"a part of an index is used", []Entry{{Repository: "r/x", Tag: "1.4.1-dev.7.gaaaaaaa7", Digest: digest(7), version: develops("1.4.1-dev.7.gaaaaaaa7"), parts: []string{digest(4)}}}, nil, Options{},
			[]string{"keep 1.4.1-dev.7.gaaaaaaa7"}},
		{"the young stay", []Entry{entry("1.4.1-dev.2.gaaaaaaa2", 2, 9), entry("1.4.1-dev.3.gaaaaaaa3", 3, 3), entry("1.4.1-dev.9.gaaaaaaa9", 9, -1)}, nil, Options{OlderThan: 5 * 24 * time.Hour},
			[]string{"keep 1.4.1-dev.9.gaaaaaaa9", "keep 1.4.1-dev.3.gaaaaaaa3", "remove 1.4.1-dev.2.gaaaaaaa2"}},
		{"a release has the image too", []Entry{entry("1.4.1-dev.2.gaaaaaaa2", 2, 9)}, map[string]string{digest(2): "1.4.1"}, Options{},
			[]string{"keep 1.4.1-dev.2.gaaaaaaa2"}},
		{"a newer version has the image too", []Entry{entry("1.4.1-dev.2.gaaaaaaa2", 2, 9), entry("1.4.1-dev.3.gaaaaaaa3", 2, 8)}, nil, Options{Keep: 1},
			[]string{"keep 1.4.1-dev.3.gaaaaaaa3", "keep 1.4.1-dev.2.gaaaaaaa2"}},
		{"input tags go with their image", []Entry{entry("1.4.1-dev.2.gaaaaaaa2", 2, 9), entry("1.4.1-dev.3.gaaaaaaa3", 3, 8), entry("input-22", 2, -1), entry("input-33", 3, -1), entry("input-88", 8, -1)}, nil, Options{Keep: 1},
			[]string{"keep 1.4.1-dev.3.gaaaaaaa3", "remove 1.4.1-dev.2.gaaaaaaa2", "remove input-22", "keep input-33", "remove input-88"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.options.Now = now
			decide(test.entries, test.others, used, test.options)
			var got []string
			for _, e := range test.entries {
				action := "keep"
				if e.Remove {
					action = "remove"
				}
				got = append(got, action+" "+e.Tag)
				if e.Reason == "" {
					t.Errorf("%s: no reason", e.Tag)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// The repositories of an app are those of all its images, but for one that stays where
// it is.
func TestRepositories(t *testing.T) {
	stays := false
	topology := protocol.Topology{OCIRegistry: &protocol.Provider{Adapter: "oci", URL: "registry.example.com/fleet"}}
	built := &protocol.Dockerfile{}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}, Image: protocol.ImageSource{Dockerfile: built}, Images: map[string]protocol.AppImage{
		"worker": {ImageSource: protocol.ImageSource{Dockerfile: built}}, "migrate": {ImageSource: protocol.ImageSource{Dockerfile: built, Repository: "jobs/migrate"}},
		"proxy": {ImageSource: protocol.ImageSource{Ref: "nginx:1", Mirror: &stays}},
	}}
	list, err := repositoriesOf(topology, []protocol.AppSpec{app})
	var got []string
	for _, r := range list {
		got = append(got, r.Name)
	}
	if want := "registry.example.com/fleet/shop registry.example.com/fleet/jobs/migrate registry.example.com/fleet/shop-worker"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v; want %s", got, err, want)
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "30d": 720 * time.Hour, "12h": 12 * time.Hour, "0d": -1, "-1h": -1, "d": -1, "1d2": -1, "1.5d": -1, "30": -1} {
		got, err := parseAge(text)
		if want < 0 {
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("%q: got %v, %v", text, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

// A real registry, and a project whose git tells the age of versions.
func TestPlanAndRemove(t *testing.T) {
	handler, err := server.NewHandler(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/fleet/operator"
	project := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", project, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Env = append(cmd.Environ(), "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "one")
	old := "1.0.1-dev.1.g" + git("rev-parse", "--short=12", "HEAD")

	push := func(content remote.Taggable, tags ...string) string {
		t.Helper()
		var sum v1.Hash
		for _, tag := range tags {
			ref, err := name.NewTag(repository + ":" + tag)
			if err != nil {
				t.Fatal(err)
			}
			switch c := content.(type) {
			case v1.Image:
				err = remote.Write(ref, c)
				sum, _ = c.Digest()
			case v1.ImageIndex:
				err = remote.WriteIndex(ref, c)
				sum, _ = c.Digest()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return sum.String()
	}
	image := func() v1.Image {
		img, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	shared, alone := image(), image()
	gone := push(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: shared}, mutate.IndexAddendum{Add: alone}), old, "input-"+strings.Repeat("a", 64))
	stays := push(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: shared}, mutate.IndexAddendum{Add: image()}), "1.0.1-dev.2.gffffffffffff")
	released := push(image(), "1.0.0", "latest")

	r := &Registry{}
	options := Options{Keep: 0, OlderThan: time.Hour, Now: now}
	entries, err := Plan(t.Context(), r, NewUses(), []Repository{{repository, project}}, options)
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := Remove(t.Context(), r, entries); err != nil || removed != 2 {
		t.Fatalf("removed %d, %v; planned %+v", removed, err, entries)
	}
	there := func(digest string) bool {
		ref, err := name.NewDigest(repository + "@" + digest)
		if err != nil {
			t.Fatal(err)
		}
		_, err = remote.Head(ref)
		return err == nil
	}
	sum := func(i v1.Image) string { h, _ := i.Digest(); return h.String() }
	for digest, want := range map[string]bool{gone: false, sum(alone): false, sum(shared): true, stays: true, released: true} {
		if there(digest) != want {
			t.Errorf("%s is there: %t, want %t", digest, !want, want)
		}
	}
	again, err := Plan(t.Context(), r, NewUses(), []Repository{{repository, project}, {repository + "/none", project}}, options)
	if err != nil || len(again) != 1 || again[0].Remove {
		t.Errorf("the second plan is %+v, %v", again, err)
	}
}

// What is released while a prune runs stays, whether that is before its image is
// deleted or while its tags are.
func TestRemoveSparesWhatWasReleasedMeanwhile(t *testing.T) {
	handler, err := server.NewHandler(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, during := range []bool{false, true} {
		var meanwhile func()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete && meanwhile != nil {
				meanwhile()
				meanwhile = nil
			}
			handler.ServeHTTP(w, r)
		}))
		defer server.Close()
		repository, err := name.NewRepository(fmt.Sprintf("%s/fleet/%t", strings.TrimPrefix(server.URL, "http://"), during))
		if err != nil {
			t.Fatal(err)
		}
		image, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		tag := func(tag string) {
			t.Helper()
			if err := remote.Write(repository.Tag(tag), image); err != nil {
				t.Fatal(err)
			}
		}
		tag("1.3.1-dev.3.gabcdef012345")
		tag("input-" + strings.Repeat("a", 64))
		r := &Registry{}
		entries, err := Plan(t.Context(), r, NewUses(), []Repository{{Name: repository.Name()}}, Options{Now: now})
		if err != nil || len(entries) != 2 || !entries[0].Remove || !entries[1].Remove {
			t.Fatalf("planned %+v, %v", entries, err)
		}
		if during {
			meanwhile = func() { tag("1.4.0") }
		} else {
			tag("1.4.0")
		}
		removed, err := Remove(t.Context(), r, entries)
		if err != nil || removed != 0 || entries[0].Remove || !strings.Contains(entries[0].Reason, "1.4.0") {
			t.Errorf("during %t: removed %d, %v: %+v", during, removed, err, entries)
		}
		if _, err := remote.Head(repository.Tag("1.4.0")); err != nil {
			t.Errorf("during %t: the release is gone: %v", during, err)
		}
	}
}

func TestMentions(t *testing.T) {
	for text, want := range map[string]bool{"a:aa": true, "aaa": false, "x-aa": false, "aa": true, `"aa"`: true, "aab aa": true, "": false} {
		if mentions(text, "aa") != want {
			t.Errorf("%q mentions aa: %t", text, !want)
		}
	}
	if !mentions("app 1.0.0+1", "1.0.0_1") {
		t.Error("the plus sign of a chart's version")
	}
}
