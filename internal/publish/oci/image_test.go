package oci

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func registryOf(c *client) capability.OCIRegistry { return imageRegistry{c} }

func TestPushImage(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		for _, index := range []bool{false, true} {
			image := built(t, index)
			prefix := "prefix/image"
			if index {
				prefix = "prefix/index"
			}
			env := environment(host + "/" + prefix)
			var seen events
			env.Progress = seen.add
			r := newRegistry(t, env)

			want := image
			want.Registry, want.Repository, want.Tag = host, prefix+"/fleet/operator", "1.4.0_b.1"
			want.Metadata.Version = "1.4.0+b.1"
			want.Location, want.Path, want.Insecure = protocol.InRegistry, "", true

			dry := env
			dry.DryRun = true
			planned := want
			planned.Planned = true
			got, err := newRegistry(t, dry).PushImage(t.Context(), app("1.4.0+b.1"), image)
			check(t, "dry run", got, planned, err)
			lacks(t, want.FullName()+":1.4.0_b.1")

			got, err = r.PushImage(t.Context(), app("1.4.0+b.1"), image)
			check(t, "first", got, want, err)
			holds(t, want.FullName()+":1.4.0_b.1", image.Digest)
			last := seen.all[len(seen.all)-1]
			if last.Current != last.Total || last.Total == 0 || last.Unit != "bytes" || last.Name != "fleet-operator" {
				t.Errorf("last event is %+v", last)
			}

			unchanged := want
			unchanged.Unchanged = true
			got, err = newRegistry(t, env).PushImage(t.Context(), app("1.4.0+b.1"), image)
			check(t, "again", got, unchanged, err)

			// What is in the registry only gets the tag of another version.
			retagged := want
			retagged.Tag, retagged.Version = "1.4.1", "1.4.1"
			got, err = r.PushImage(t.Context(), app("1.4.1"), want)
			check(t, "in registry", got, retagged, err)
			holds(t, want.FullName()+":1.4.1", image.Digest)
		}
	})
}

func check(t *testing.T, what string, got, want protocol.ImageRef, err error) {
	t.Helper()
	got.Platforms, want.Platforms = nil, nil
	if err != nil || got.String() != want.String() || got.Location != want.Location || got.Path != want.Path ||
		got.Metadata != want.Metadata || got.Unchanged != want.Unchanged || got.Planned != want.Planned || got.Insecure != want.Insecure {
		t.Fatalf("%s: got %+v, %v\nwant %+v", what, got, err, want)
	}
}

func TestPushImageKeepsReleases(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		first, second := built(t, false), built(t, false)
		r := newRegistry(t, environment(host))
		for _, test := range []struct {
			version string
			moves   bool
		}{{"1.4.0", false}, {"1.4.0-rc.1", false}, {"1.4.0-devel", false}, {"1.4.1-dev.3.gabc", true}, {"0.0.0-dev", true}} {
			if _, err := r.PushImage(t.Context(), app(test.version), first); err != nil {
				t.Fatal(err)
			}
			_, err := r.PushImage(t.Context(), app(test.version), second)
			if test.moves {
				if err != nil {
					t.Errorf("%s: %v", test.version, err)
				}
				holds(t, host+"/fleet/operator:"+test.version, second.Digest)
				continue
			}
			if err == nil || !strings.Contains(err.Error(), first.Digest) || !strings.Contains(err.Error(), second.Digest) || protocol.ExitCode(err) != protocol.ExitFailed || protocol.HintOf(err) == "" {
				t.Errorf("%s: got status %d, %v", test.version, protocol.ExitCode(err), err)
			}
			holds(t, host+"/fleet/operator:"+test.version, first.Digest)
		}
	})
}

func TestPushImageAtOnce(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		image := built(t, true)
		shared := newRegistry(t, environment(host))
		var group sync.WaitGroup
		for i := range 8 {
			r := shared
			if i%2 == 0 {
				r = newRegistry(t, environment(host))
			}
			group.Go(func() {
				if _, err := r.PushImage(t.Context(), app("1.4.0"), image); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		holds(t, host+"/fleet/operator:1.4.0", image.Digest)
	})
}

// A layout that is not what it says never gets a tag.
func TestPushImageRefusesBrokenLayout(t *testing.T) {
	blobs := func(path string) []string {
		files, err := filepath.Glob(filepath.Join(path, "blobs/sha256/*"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	change := func(do func(data []byte) []byte) func(string) error {
		return func(file string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return os.WriteFile(file, do(data), 0o600)
		}
	}
	tests := map[string]func(file string) error{
		"changed":   change(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }),
		"shorter":   change(func(b []byte) []byte { return b[:len(b)-1] }),
		"longer":    change(func(b []byte) []byte { return append(b, ' ') }),
		"empty":     change(func([]byte) []byte { return nil }),
		"gone":      os.Remove,
		"a symlink": func(file string) error { return errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file)) },
	}
	eachRegistry(t, func(t *testing.T, host string) {
		for what, spoil := range tests {
			for i := range 5 { // manifest, config, three layers
				image := built(t, false)
				file := blobs(image.Path)[i]
				if err := spoil(file); err != nil {
					t.Fatal(err)
				}
				_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), image)
				if err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || protocol.ExitCode(err) != protocol.ExitFailed {
					t.Errorf("%s: got status %d, %v", what, protocol.ExitCode(err), err)
				}
				lacks(t, host+"/fleet/operator:1.4.0")
			}
		}
	})
}

func TestPushImageRefusesInput(t *testing.T) {
	host := harmonyRegistry(t)
	image := built(t, false)
	with := func(change func(*protocol.ImageRef)) protocol.ImageRef {
		changed := image
		change(&changed)
		return changed
	}
	tests := []struct {
		name  string
		image protocol.ImageRef
		code  int
		want  string
	}{
		{"planned", with(func(i *protocol.ImageRef) { i.Planned = true }), protocol.ExitInvalid, "only planned"},
		{"no digest", with(func(i *protocol.ImageRef) { i.Digest = "" }), protocol.ExitInvalid, "only planned"},
		{"another digest", with(func(i *protocol.ImageRef) { i.Digest = built(t, false).Digest }), protocol.ExitInvalid, "not sha256:"},
		{"no layout", with(func(i *protocol.ImageRef) { i.Path = t.TempDir() }), protocol.ExitInvalid, "index.json"},
		{"daemon", with(func(i *protocol.ImageRef) { i.Location = protocol.InDaemon }), protocol.ExitInvalid, "is in a daemon"},
		{"nowhere", with(func(i *protocol.ImageRef) { i.Location = "cloud" }), protocol.ExitUnsupported, `location "cloud"`},
		{"elsewhere", with(func(i *protocol.ImageRef) { i.Location, i.Registry = protocol.InRegistry, "other:5000" }), protocol.ExitUnsupported, "another registry"},
		{"repository", with(func(i *protocol.ImageRef) { i.Repository = "Fleet/../x" }), protocol.ExitInvalid, "repository"},
	}
	for _, test := range tests {
		_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), test.image)
		if protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got status %d, %v; want %d, %q", test.name, protocol.ExitCode(err), err, test.code, test.want)
		}
	}
	dry := environment(host)
	dry.DryRun = true
	got, err := newRegistry(t, dry).PushImage(t.Context(), app("1.4.0"), protocol.ImageRef{Repository: "fleet/operator", Planned: true})
	if err != nil || !got.Planned || got.Digest != "" || got.FullName() != host+"/fleet/operator" {
		t.Errorf("planned: got %+v, %v", got, err)
	}
}

func TestFailures(t *testing.T) {
	for status, want := range map[int]struct {
		code int
		hint string
	}{
		http.StatusUnauthorized:        {protocol.ExitFailed, "docker login"},
		http.StatusForbidden:           {protocol.ExitFailed, "allowed to push"},
		http.StatusPreconditionFailed:  {protocol.ExitFailed, ""},
		http.StatusTooManyRequests:     {protocol.ExitRetryable, ""},
		http.StatusInternalServerError: {protocol.ExitRetryable, ""},
		http.StatusServiceUnavailable:  {protocol.ExitRetryable, ""},
	} {
		host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v2/":
			case r.Method == http.MethodHead:
				w.WriteHeader(http.StatusNotFound)
			default:
				w.WriteHeader(status)
				_, _ = w.Write([]byte(`{"errors":[{"code":"SOME","message":"the words of the registry"}]}`))
			}
		}))
		_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), built(t, false))
		if protocol.ExitCode(err) != want.code || !strings.Contains(err.Error(), "the words of the registry") || !strings.Contains(protocol.HintOf(err), want.hint) {
			t.Errorf("%d: got status %d, %v, hint %q", status, protocol.ExitCode(err), err, protocol.HintOf(err))
		}
	}
}

func TestFailuresOfTheConnection(t *testing.T) {
	closing := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	tests := []struct {
		name, host string
		code       int
		want, hint string
	}{
		{"nobody there", "localhost:1", protocol.ExitFailed, "nothing listens at localhost:1", "harmony registry up"},
		{"connection lost", closing, protocol.ExitRetryable, "EOF", ""},
		{"no such name", "registry.invalid", protocol.ExitFailed, "registry.invalid", ""},
	}
	for _, test := range tests {
		_, err := newRegistry(t, environment(test.host)).PushImage(t.Context(), app("1.4.0"), built(t, false))
		if protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) || !strings.Contains(protocol.HintOf(err), test.hint) {
			t.Errorf("%s: got status %d, %v, hint %q", test.name, protocol.ExitCode(err), err, protocol.HintOf(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newRegistry(t, environment(harmonyRegistry(t))).PushImage(ctx, app("1.4.0"), built(t, false))
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("cancelled: got status %d, %v", protocol.ExitCode(err), err)
	}
}

func TestPushCancelled(t *testing.T) {
	_, err := newRegistry(t, environment("192.0.2.1:1")).PushImage(cancelled(t), app("1.4.0"), built(t, false))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestNewNeedsURL(t *testing.T) {
	for what, construct := range map[string]func(context.Context, capability.Environment) error{
		"spec.ociRegistry.url": func(ctx context.Context, env capability.Environment) error {
			_, err := NewRegistry(nil)(ctx, env)
			return err
		},
		"spec.helmRegistry.url": func(ctx context.Context, env capability.Environment) error {
			_, err := NewHelmRegistry(nil, pack.Pack)(ctx, env)
			return err
		},
	} {
		err := construct(t.Context(), environment(""))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), what) || !strings.Contains(protocol.HintOf(err), "HARMONY_REGISTRY") {
			t.Errorf("got %v, hint %q", err, protocol.HintOf(err))
		}
		if err := construct(t.Context(), environment("a b/c")); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("got %v", err)
		}
	}
}

// A layer that was damaged on disk is refused by the registry, and told as what
// it is.
func TestDamagedLayer(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		image := built(t, false)
		manifest, err := readLayout(image.Path, image.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layer := manifest.blobs[len(manifest.blobs)-1].descriptor
		file := filepath.Join(image.Path, "blobs", layer.Digest.Algorithm, layer.Digest.Hex)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRegistry(t, environment(host+"/prefix/damaged"))
		_, err = r.PushImage(t.Context(), app("1.4.0"), image)
		if err == nil || !strings.Contains(err.Error(), "blob "+layer.Digest.String()+" does not match its digest") || !strings.Contains(protocol.HintOf(err), "cache is damaged") {
			t.Errorf("got %v, %s", err, protocol.HintOf(err))
		}
	})
}
