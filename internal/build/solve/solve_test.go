package solve

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/secrets"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestCredentialsAreOfTheHostAskedFor(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HARMONY_REGISTRY_USERNAME", "me")
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "hunter2")
	for asked, test := range map[string]struct{ has, want string }{
		"registry.example.com":     {"registry.example.com", "hunter2"},
		"registry.example.com:443": {"registry.example.com", ""},
		"evil.example.com":         {"registry.example.com", ""},
		"registry-1.docker.io":     {"index.docker.io", "hunter2"},
	} {
		t.Setenv("HARMONY_REGISTRY", test.has)
		got, err := credentials{}.Credentials(t.Context(), &auth.CredentialsRequest{Host: asked})
		if err != nil || got.Secret != test.want {
			t.Errorf("%s: %v %v", asked, got, err)
		}
	}
}

func TestSecretsAreReadWhenAskedFor(t *testing.T) {
	s := store{list: []dockerfile.Secret{{ID: "a", Env: "TEST_SECRET"}, {ID: "b", File: "/dev/zero"}, {ID: "c", File: "/does/not/exist"}}}
	t.Setenv("TEST_SECRET", "one")
	for id, want := range map[string]string{"a": "one", "b": "is not a regular file", "c": "no such file", "d": "has no secret d"} {
		r, err := s.GetSecret(t.Context(), &secrets.GetSecretRequest{ID: id})
		if got := string(r.GetData()); got != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q %v", id, got, err)
		}
	}
	t.Setenv("TEST_SECRET", "two")
	if r, err := s.GetSecret(t.Context(), &secrets.GetSecretRequest{ID: "a"}); err != nil || string(r.Data) != "two" {
		t.Errorf("%v %v", r, err)
	}
	t.Setenv("TEST_SECRET", strings.Repeat("x", maxSecret+1))
	if _, err := s.GetSecret(t.Context(), &secrets.GetSecretRequest{ID: "a"}); err == nil || strings.Contains(err.Error(), "xx") {
		t.Errorf("%v", err)
	}
}

func TestOptions(t *testing.T) {
	r := build.Request{
		Created: time.Unix(7, 0), NoCache: true, Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}},
		Context: build.Context{Dir: t.TempDir(), Dockerfile: t.TempDir() + "/x.Dockerfile", Target: "t", Args: map[string]string{"A": "b"}, Contexts: map[string]string{"c": t.TempDir(), "d": "docker-image://e"}},
		Bases:   map[string]digest.Digest{"alpine": digest.FromString("x"), "r.example.com/a:1@" + digest.FromString("y").String(): digest.FromString("y")},
	}
	o := Options{Export: Push("r/x", true), SBOM: "scanner", Provenance: "max"}
	got, err := options(r, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"filename": "x.Dockerfile", "platform": "linux/amd64,linux/arm/v7", "target": "t", "build-arg:A": "b", "no-cache": "",
		"context:c": "local:context-0", "context:d": "docker-image://e", "build-arg:SOURCE_DATE_EPOCH": "7",
		"attest:sbom": "generator=scanner", "attest:provenance": "mode=max,version=v1",
	} {
		if have, ok := got.FrontendAttrs[name]; !ok || have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	export := fmt.Sprint(got.Exports[0].Attrs)
	for _, want := range []string{"push-by-digest:true", "registry.insecure:true", "rewrite-timestamp:true", "source-date-epoch:7"} {
		if !strings.Contains(export, want) {
			t.Errorf("no %s in %s", want, export)
		}
	}
	r.Created = time.Unix(0, 0)
	for arg, want := range map[string]bool{"A": false, "SOURCE_DATE_EPOCH": true} {
		r.Context.Args = map[string]string{arg: "0"}
		plain, err := options(r, o)
		if _, rewrites := plain.Exports[0].Attrs["rewrite-timestamp"]; err != nil || rewrites != want {
			t.Errorf("%s: rewrites the times of files %t, want %t, %v", arg, rewrites, want, err)
		}
	}
	if rules := got.SourcePolicy.Rules; len(rules) != 1 || rules[0].Selector.Identifier != "docker-image://docker.io/library/alpine:latest" || !strings.HasSuffix(rules[0].Updates.Identifier, digest.FromString("x").String()) {
		t.Errorf("%v", rules)
	}
	if len(o.Export.Attrs) != 6 {
		t.Errorf("the caller's attributes were written to: %v", o.Export.Attrs)
	}
}

func TestProgress(t *testing.T) {
	var lines []string
	p := newProgress(build.Request{App: protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}}}, func(e protocol.Event) { lines = append(lines, e.Phase+" "+e.Message) })
	statuses := make(chan *client.SolveStatus, 8)
	begin := time.Unix(0, 0)
	end := begin.Add(1500 * time.Millisecond)
	a, b := digest.FromString("a"), digest.FromString("b")
	statuses <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "RUN a"}}}
	statuses <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "RUN a", Started: &begin}}}
	for i := range 1000 {
		p.follow(closed(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: a, Data: fmt.Appendf(nil, "line %d\n", i)}}}))
	}
	statuses <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "RUN a", Started: &begin, Completed: &end}, {Digest: b, Name: "COPY", Started: &begin, Completed: &begin, Cached: true}}}
	statuses <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: b, Name: "COPY", Started: &begin, Completed: &begin, Cached: true}}}
	close(statuses)
	p.follow(statuses)
	var steps []string
	for _, line := range lines {
		if strings.HasPrefix(line, protocol.PhaseStep) {
			steps = append(steps, line)
		}
	}
	if got, want := strings.Join(steps, "; "), "step #1 RUN a; step #1 RUN a 1.5s; step #2 COPY CACHED"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if told := len(lines) - len(steps); told == 0 || told > 20 {
		t.Errorf("%d events of output", told)
	}
	if tail := p.tail(a.String()); !strings.HasSuffix(tail, "| line 999") || strings.Count(tail, "\n") != tailLines {
		t.Errorf("%q", tail)
	}
}

func closed(s *client.SolveStatus) <-chan *client.SolveStatus {
	c := make(chan *client.SolveStatus, 1)
	c <- s
	close(c)
	return c
}
