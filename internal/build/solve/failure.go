package solve

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ErrUnreachable is the error of a builder that cannot be reached, or is lost during a
// build.
var ErrUnreachable = errors.New("the builder cannot be reached")

// explain turns a builder's error into one for people: the place in the Dockerfile, what
// went wrong, and the end of the step's output.
func explain(ctx context.Context, r build.Request, p *progress, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("build %s: %w", r.App.Name, context.Cause(ctx))
	}
	if IsUnreachable(err) {
		line, _, _ := strings.Cut(plain(err), "\n")
		return protocol.Retryable("%w: %s", ErrUnreachable, line).
			WithHint("run it again: what was built until then is in the builder's cache")
	}
	message := locate(r, p, err)
	if isSyntax(err) {
		return protocol.Invalid("%s", message)
	}
	failed := p.failed.String()
	var vertex *errdefs.VertexError
	if errors.As(err, &vertex) {
		failed = vertex.Digest
	}
	return errors.New(message + p.tail(failed))
}

// IsUnreachable reports whether a call failed for lack of a connection.
func IsUnreachable(err error) bool {
	return errors.Is(err, ErrUnreachable) || grpcerrors.Code(err) == codes.Unavailable
}

// isSyntax reports whether the frontend could not read the Dockerfile, or make
// sense of it.
func isSyntax(err error) bool {
	text := err.Error()
	return strings.Contains(text, "dockerfile parse error") || strings.Contains(text, "could not be found in Dockerfile") ||
		strings.Contains(text, "target stage") && strings.Contains(text, "could not be found")
}

// locate puts the place and the instruction before the message.
func locate(r build.Request, p *progress, err error) string {
	message := plain(err)
	for _, source := range errdefs.Sources(err) {
		if source.Info == nil || len(source.Ranges) == 0 || filepath.Base(source.Info.Filename) != filepath.Base(r.Context.Dockerfile) {
			continue
		}
		line := int(source.Ranges[0].Start.Line)
		lines := strings.Split(string(source.Info.Data), "\n")
		if line < 1 || line > len(lines) {
			continue
		}
		return fmt.Sprintf("%s:%d: %s\n%s", r.Context.Name, line, strings.TrimSpace(lines[line-1]), message)
	}
	if s := p.steps[p.failed]; s != nil {
		// As with the builder of dockerd 20.10, which reports no place.
		_, instruction, numbered := strings.Cut(s.name, "] ")
		if !numbered {
			instruction = s.name
		}
		return r.Context.Place(instruction) + "\n" + message
	}
	return r.Context.Name + ": " + message
}

// plain is the message without the prefixes of the connection's layers.
func plain(err error) string {
	text := strings.TrimPrefix(err.Error(), "failed to solve: ")
	if at := strings.Index(text, "desc = "); at >= 0 && strings.Contains(text[:at], "rpc error") {
		text = text[at+len("desc = "):]
	}
	return strings.TrimPrefix(text, "failed to solve: ")
}
