package index

import (
	"context"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

// location is where an index is fetched from.
type location struct {
	// local is true for an index on this machine, which may name files on it.
	local bool
	// here is true for an index that this machine serves, which may name its ports.
	here bool
	// folder is true when no copy is worth keeping.
	folder bool
	fetch  func(ctx context.Context, o fetching) (tree, error)
}

// fetching has the parameters of a fetch.
type fetching struct {
	store *Store
	// suffix is that of the signatures to fetch; none when empty.
	suffix string
	// have is an earlier copy; it may be empty.
	have tree
}

// schemes are the forms of an index's address, for messages.
const schemes = "https://…, oci://…, a git repository (https://….git, git+https://…, ssh://…) or the path of a folder"

// parseLocation finds the kind of an index by its address. Its errors contain no
// credentials and are of status protocol.ExitInvalid.
func parseLocation(address string) (location, error) {
	if filepath.IsAbs(address) {
		return folderLocation(address), nil
	}
	if scp := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:]+$`); scp.MatchString(address) && printable(address) {
		return gitLocation(address, false), nil
	}
	u, err := url.Parse(address)
	if err != nil || !printable(address) || u.Scheme == "" {
		return location{}, protocol.Invalid("the address of an index must be %s", schemes)
	}
	if _, secret := u.User.Password(); secret {
		return location{}, protocol.Invalid("the address of an index must not contain a password").
			WithHint("store it with a git credential helper or docker login")
	}
	found, err := byScheme(address, u)
	found.here = redirect.IsHere(u.Hostname())
	return found, err
}

// canonical is the one form of an address that may be written in several ways.
func canonical(address string) string {
	if user, rest, ok := strings.Cut(address, "@"); ok && !strings.Contains(address, "://") { // user@host:path
		host, file, _ := strings.Cut(rest, ":")
		address = "ssh://" + user + "@" + host + "/" + file
	}
	if filepath.IsAbs(address) {
		address = "file://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), map[string]string{"https": ":443", "git+https": ":443", "ssh": ":22", "git+ssh": ":22"}[u.Scheme])
	scheme := strings.TrimPrefix(u.Scheme, "git+")
	return scheme + "://" + u.User.String() + "@" + host + path.Clean("/"+u.Path) + "?" + u.RawQuery
}

func byScheme(address string, u *url.URL) (location, error) {
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		return folderLocation(u.Path), nil
	case u.Scheme == "git+file" && u.Host == "" && filepath.IsAbs(u.Path):
		return gitLocation("file://"+u.Path, true), nil
	case u.Host == "" || strings.HasPrefix(u.Host, "-"):
	case u.Scheme == "oci" && u.User == nil:
		return ociLocation(strings.TrimPrefix(address, "oci://")), nil
	case u.Scheme == "git+https", u.Scheme == "git+ssh":
		return gitLocation(strings.TrimPrefix(address, "git+"), false), nil
	case u.Scheme == "ssh", u.Scheme == "https" && strings.HasSuffix(u.Path, ".git"):
		return gitLocation(address, false), nil
	case u.Scheme == "https" && u.User == nil:
		return treeLocation(u), nil
	}
	return location{}, protocol.Invalid("an index cannot be at %s://…; its address must be %s", u.Scheme, schemes)
}
