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
// credential resolver has for the registries of all images; nil when they ask for none.
func (d *deployment) credentials(ctx context.Context) (*corev1.Secret, error) {
	if d.settings.pullSecret == "" || d.Image.IsNone() {
		return nil, nil
	}
	logins := map[string]namespace.Login{}
	for _, app := range d.App.ForEachImage() {
		image := d.Image
		if _, further := protocol.SplitImage(app.Name); further != "" {
			image = d.Image.Images[further]
		}
		if err := d.login(ctx, app, image, logins); err != nil {
			return nil, err
		}
	}
	return namespace.PullSecret(d.settings.pullSecret, logins)
}

// login adds the login for one image. One that stays where others publish it may be there
// for everybody.
func (d *deployment) login(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, logins map[string]namespace.Login) error {
	repository, err := name.NewRepository(image.FullName())
	if err != nil {
		return protocol.Invalid("%s: %w", app.ImageField(), err)
	}
	found, err := auth.Find(ctx, repository)
	if err != nil {
		return err
	}
	login := namespace.Login{Username: found.Auth.Username, Password: found.Auth.Password}
	switch host := repository.RegistryStr(); {
	case found.Source == auth.Anonymous && app.Image.Stays():
		return nil
	case login.Username == "" || login.Password == "":
		return protocol.Invalid("pullSecret %s: there is no user name with a password for registry %s, which has %s (found: %s)", d.settings.pullSecret, host, app.ImageField(), found.Source).
			WithHint("log in with docker login %s, or set %s and %s for the registry of %s; a kubelet takes nothing else", host, auth.Username, auth.PasswordFile, auth.Registry)
	case logins[host] == namespace.Login{} || logins[host] == login:
		logins[host] = login
	default: // the most exact entry counts
		logins[repository.Name()] = login
	}
	return nil
}
