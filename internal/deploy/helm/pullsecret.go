package helm

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// credentials makes the pull secret that the settings ask for, of what the one
// credential resolver has for the image's registry; nil when they ask for none.
func (d *deployment) credentials(ctx context.Context) (*corev1.Secret, error) {
	if d.settings.pullSecret == "" {
		return nil, nil
	}
	repository, err := name.NewRepository(d.Image.FullName())
	if err != nil {
		return nil, protocol.Invalid("image: %w", err)
	}
	found, err := auth.Find(ctx, repository)
	if err != nil {
		return nil, err
	}
	if found.Auth.Username == "" || found.Auth.Password == "" {
		return nil, protocol.Invalid("pullSecret %s: there is no user name with a password for registry %s (found: %s)",
			d.settings.pullSecret, repository.RegistryStr(), found.Source).
			WithHint("log in with docker login, or set %s and %s; a kubelet takes nothing else", auth.Username, auth.PasswordFile)
	}
	return namespace.PullSecret(d.settings.pullSecret, repository.RegistryStr(), found.Auth.Username, found.Auth.Password)
}
