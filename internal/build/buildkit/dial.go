package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer" // each registers
	_ "github.com/moby/buildkit/client/connhelper/kubepod"         // its scheme
	_ "github.com/moby/buildkit/client/connhelper/ssh"             // with the client
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"

	"github.com/nationtech/harmony/internal/build/solve"
	"github.com/nationtech/harmony/pkg/protocol"
)

const patience = 15 * time.Second

// dial connects to a worker and makes sure that it answers.
func dial(ctx context.Context, address string, tls tlsFiles) (*client.Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, protocol.Invalid("address %q is not a URL", address)
	}
	if program := schemes()[u.Scheme]; program != "" {
		if _, err := exec.LookPath(program); err != nil {
			return nil, protocol.Unsupported("%s needs the program %s: %w", address, program, err)
		}
	}
	var options []client.ClientOpt
	if u.Scheme == "tcp" && tls != (tlsFiles{}) {
		options = append(options, client.WithServerConfig(tls.ServerName, tls.CA))
		if tls.CA == "" {
			options[0] = client.WithServerConfigSystem(tls.ServerName)
		}
		if tls.Cert != "" {
			options = append(options, client.WithCredentials(tls.Cert, tls.Key))
		}
	}
	c, err := client.New(ctx, address, options...)
	if err != nil {
		return nil, protocol.Invalid("%s: %w", address, err)
	}
	if err := probe(ctx, c); err != nil {
		return nil, errors.Join(unreachable(ctx, u, err), c.Close())
	}
	return c, nil
}

// probe asks a worker for anything.
func probe(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.Info(ctx)
	if grpcerrors.Code(err) == codes.Unimplemented { // by one that is older than the question
		return nil
	}
	return err
}

func unreachable(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connect to %s: %w", u.Redacted(), context.Cause(ctx))
	}
	return protocol.Retryable("%w at %s: %w", solve.ErrUnreachable, u.Redacted(), err).WithHint("%s", advice(u))
}

// advice says what is to be started for an address.
func advice(u *url.URL) string {
	switch u.Scheme {
	case "docker-container":
		return "start it: docker start " + u.Hostname()
	case "kube-pod":
		return "check that the pod is running: kubectl get pod " + u.Hostname()
	case "ssh":
		return "start buildkitd on " + u.Hostname() + ", and check that ssh " + u.Hostname() + " works"
	case "tcp":
		return "start buildkitd --addr " + u.Redacted() + " there; when it has certificates, containerBuilder.settings.tls names those to use"
	}
	return "start it: buildkitd --addr " + u.Redacted()
}

// builds is how many builds a worker has under way, those of other clients
// included; 0 if it does not say.
func builds(ctx context.Context, c *client.Client) int {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := c.ControlClient().ListenBuildHistory(ctx, &controlapi.BuildHistoryRequest{ActiveOnly: true, EarlyExit: true})
	if err != nil {
		return 0
	}
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return n
			}
			return 0
		}
	}
}
