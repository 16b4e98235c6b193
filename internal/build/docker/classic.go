package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// classic builds with the classic builder.
func (b *backend) classic(ctx context.Context, d *daemon.Client, r build.Request) (string, error) {
	if err := lacking(d, r); err != nil {
		return "", err
	}
	credentials, err := credentials(r)
	if err != nil {
		return "", err
	}
	content, err := packContext(ctx, r)
	if err != nil {
		return "", err
	}
	defer content.Close()
	shown := &transcript{app: r.App.Metadata, send: b.env.Progress}
	id, err := d.Build(ctx, daemon.BuildOptions{
		Dockerfile: content.dockerfile, Target: r.Context.Target, Args: r.Context.Args,
		Platform: ocilayout.PlatformString(r.Platforms[0]), NoCache: r.NoCache, Credentials: credentials,
	}, content, shown.message)
	if failed := content.failure(); failed != nil && ctx.Err() == nil {
		return "", failed // the daemon only knows that the context ended early
	}
	if err != nil {
		return "", shown.explain(r, err)
	}
	return id, nil
}

// lacking refuses what only BuildKit can do.
func lacking(d *daemon.Client, r build.Request) error {
	var what string
	switch c := r.Context; {
	case len(c.Secrets) > 0:
		what = "secrets"
	case len(c.SSH) > 0:
		what = "ssh"
	case len(c.Contexts) > 0:
		what = "named contexts"
	default:
		return nil
	}
	return protocol.Unsupported("the daemon at %s has no BuildKit, which %s of %s need", d, what, r.Context.Name).
		WithHint("use a daemon with BuildKit, such as dockerd 18.09 or newer, or the adapter buildkit")
}

// credentials is the header with those of the registries of the base images.
func credentials(r build.Request) (string, error) {
	all := map[string]authn.AuthConfig{}
	for base := range r.Bases {
		ref, err := name.ParseReference(base)
		if err != nil {
			continue // nothing that a registry could have
		}
		registry := ref.Context().Registry
		auth, err := auth.Keychain().Resolve(registry)
		if err != nil {
			return "", fmt.Errorf("credentials for %s: %w", registry, err)
		}
		config, err := auth.Authorization()
		if err != nil {
			return "", fmt.Errorf("credentials for %s: %w", registry, err)
		}
		if auth != authn.Anonymous {
			all[registry.Name()] = *config
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	data, err := json.Marshal(all)
	return base64.URLEncoding.EncodeToString(data), err
}

const (
	// lastLines is how much of the output of a failed step is told.
	lastLines = 20
	// maxLine is the longest line of output that is told.
	maxLine = 200
	// interval is the least time between two events of what steps write.
	interval = 200 * time.Millisecond
)

// transcript tells of the steps of a build, and keeps the end of what the last
// one wrote.
type transcript struct {
	app   protocol.Metadata
	send  func(protocol.Event)
	step  string
	line  string
	lines []string
	told  time.Time
}

func (t *transcript) message(m daemon.Message) {
	text := t.line + m.Stream
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			t.line = line[:min(len(line), 4*maxLine)]
			return
		}
		t.add(line)
		text = rest
	}
}

func (t *transcript) add(line string) {
	// The colours that dockerd gives to what a step writes to stderr.
	line = strings.NewReplacer("\x1b[91m", "", "\x1b[0m", "").Replace(line)
	line = strings.TrimSpace(strings.ToValidUTF8(line, ""))
	switch {
	case line == "", strings.HasPrefix(line, "---> "), strings.HasPrefix(line, "Removing intermediate container "):
	case strings.HasPrefix(line, "Step "), strings.HasPrefix(line, "STEP "):
		t.step, t.lines = line, nil
		t.send(protocol.Event{Metadata: t.app, Phase: protocol.PhaseStep, Message: line})
	default:
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "")
		}
		t.lines = append(t.lines, line)
		t.lines = t.lines[max(0, len(t.lines)-lastLines):]
		if time.Since(t.told) >= interval {
			t.told = time.Now()
			t.send(protocol.Event{Metadata: t.app, Phase: "build", Message: line})
		}
	}
}

// explain is the error of a failed build with the end of its output.
func (t *transcript) explain(r build.Request, err error) error {
	var refused *daemon.Refusal
	if !errors.As(err, &refused) {
		return err
	}
	if strings.Contains(refused.Message, "requires BuildKit") || strings.Contains(refused.Message, "requires buildkit") {
		return protocol.Unsupported("%s: %w", r.Context.Name, err).WithHint("use a daemon with BuildKit, or the adapter buildkit")
	}
	text := place(r, t.step)
	if t.line != "" {
		t.add(t.line)
	}
	text += "\n" + strings.TrimSpace(refused.Message)
	for _, line := range t.lines {
		text += "\n  | " + line
	}
	return errors.New(text)
}

// place is where the step is in the Dockerfile.
func place(r build.Request, step string) string {
	_, instruction, _ := strings.Cut(step, ": ") // Step 3/4 : RUN x, or STEP 3/4: RUN x
	if instruction == "" {
		return r.Context.Name
	}
	return r.Context.Place(instruction)
}
