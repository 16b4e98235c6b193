package solve

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	registryauth "github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

const maxSecret = 500 << 10

// attachables are what the builder may ask for while it builds.
func attachables(c build.Context) ([]session.Attachable, error) {
	list := []session.Attachable{credentials{}, store{list: c.Secrets}}
	if len(c.SSH) == 0 {
		return list, nil
	}
	var agents []sshprovider.AgentConfig
	for _, s := range c.SSH {
		agents = append(agents, sshprovider.AgentConfig{ID: s.ID, Paths: s.Paths})
	}
	ssh, err := sshprovider.NewSSHAgentProvider(agents)
	if err != nil {
		return nil, protocol.Invalid("ssh: %w", err)
	}
	return append(list, ssh), nil
}

// credentials gives the builder those of the registry that it asks about, and
// no other's. The builder gets tokens by itself.
type credentials struct{ auth.UnimplementedAuthServer }

// Register implements [session.Attachable].
func (c credentials) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// dockerHub is how BuildKit calls the host behind name.DefaultRegistry.
const dockerHub = "registry-1.docker.io"

// Credentials implements [auth.AuthServer].
func (c credentials) Credentials(ctx context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host := r.Host
	if host == dockerHub {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	found, err := registryauth.Find(ctx, registry)
	if err != nil {
		return nil, err
	}
	if token := found.Auth.IdentityToken; token != "" {
		return &auth.CredentialsResponse{Secret: token}, nil
	}
	return &auth.CredentialsResponse{Username: found.Auth.Username, Secret: found.Auth.Password}, nil
}

// store reads a secret when the build asks for it.
type store struct {
	secrets.UnimplementedSecretsServer
	list []dockerfile.Secret
}

// Register implements [session.Attachable].
func (s store) Register(server *grpc.Server) { secrets.RegisterSecretsServer(server, s) }

// GetSecret implements [secrets.SecretsServer]. Its errors name the secret and
// where it is, and nothing of its value.
func (s store) GetSecret(_ context.Context, r *secrets.GetSecretRequest) (*secrets.GetSecretResponse, error) {
	for _, secret := range s.list {
		if secret.ID != r.ID {
			continue
		}
		value, err := read(secret)
		if err == nil && len(value) > maxSecret {
			err = fmt.Errorf("has over %d bytes", maxSecret)
		}
		if err != nil {
			return nil, status.Errorf(codes.FailedPrecondition, "the secret %s: %v", r.ID, err)
		}
		return &secrets.GetSecretResponse{Data: value}, nil
	}
	return nil, status.Errorf(codes.NotFound, "the app has no secret %s", r.ID)
}

func read(secret dockerfile.Secret) ([]byte, error) {
	if secret.Env != "" {
		value, ok := os.LookupEnv(secret.Env)
		if !ok {
			return nil, fmt.Errorf("the variable %s is not set", secret.Env)
		}
		return []byte(value), nil
	}
	info, err := os.Stat(secret.File)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New(secret.File + " is not a regular file")
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has over %d bytes", secret.File, maxSecret)
	}
	return os.ReadFile(secret.File)
}
