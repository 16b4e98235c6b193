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
	"github.com/nationtech/harmony/internal/cli/process"
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
	credentials, err := credentials(ctx, r)
	if err != nil {
		return "", err
	}
	content, err := packContext(ctx, r)
	if err != nil {
		return "", err
	}
	defer content.Close()
	shown := &transcript{app: r.App.Metadata, send: b.env.Progress}
	shown.Show, shown.Max = shown.add, 4*maxLine
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
func credentials(ctx context.Context, r build.Request) (string, error) {
	all := map[string]authn.AuthConfig{}
	for base := range r.Bases {
		ref, err := name.ParseReference(base)
		if err != nil {
			continue // not a name that a registry could have
		}
		registry := ref.Context().Registry
		found, err := auth.Find(ctx, registry)
		if err != nil {
			return "", fmt.Errorf("credentials for %s: %w", registry, err)
		}
		if found.Source != auth.Anonymous {
			all[registry.Name()] = found.Auth
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	data, err := json.Marshal(all)
	return base64.URLEncoding.EncodeToString(data), err
}

const (
	// lastLines is how much of the output of a failed step is shown.
	lastLines = 20
	// maxLine is the longest line of output that is shown.
	maxLine = 200
	// interval is the least time between two events of what steps write.
	interval = 200 * time.Millisecond
)

// transcript shows the steps of a build, and keeps the end of the output of the last
// one.
type transcript struct {
	process.Lines
	app   protocol.Metadata
	send  func(protocol.Event)
	step  string
	lines []string
	shown time.Time
}

func (t *transcript) message(m daemon.Message) { _, _ = t.Write([]byte(m.Stream)) }

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
		if time.Since(t.shown) >= interval {
			t.shown = time.Now()
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
	text := r.Context.Name
	_, instruction, _ := strings.Cut(t.step, ": ") // Step 3/4 : RUN x, or STEP 3/4: RUN x
	if instruction != "" {
		text = r.Context.Place(instruction)
	}
	t.Flush()
	text += "\n" + strings.TrimSpace(refused.Message)
	for _, line := range t.lines {
		text += "\n  | " + line
	}
	return errors.New(text)
}
