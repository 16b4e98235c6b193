package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

// patience is how long a server may send nothing.
const patience = 30 * time.Second

// repository is an https repository of charts.
type repository struct {
	base      *url.URL
	transport http.RoundTripper
}

// openRepository makes the way to a repository. What it lists may be on another host,
// which gets no credentials, and which is not this machine unless the repository is.
func openRepository(ctx context.Context, address string) (repository, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/") + "/")
	if err != nil {
		return repository{}, protocol.Invalid("%w", err)
	}
	at, err := name.NewRegistry(base.Host)
	if err != nil {
		return repository{}, protocol.Invalid("%w", err)
	}
	found, err := auth.Find(ctx, at)
	if err != nil {
		return repository{}, err
	}
	plain := download.Transport(nil, !redirect.IsHere(base.Hostname()), patience, base.Hostname())
	return repository{base, credentialed{plain, base, found.Auth}}, nil
}

// credentialed sends the credentials of a host there and nowhere else, whatever
// redirects say.
type credentialed struct {
	inner http.RoundTripper
	to    *url.URL
	auth  authn.AuthConfig
}

// RoundTrip implements [http.RoundTripper].
func (c credentialed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == c.to.Host && r.URL.Scheme == c.to.Scheme && c.auth.Username != "" && c.auth.Password != "" {
		r = r.Clone(r.Context())
		r.SetBasicAuth(c.auth.Username, c.auth.Password)
	}
	return c.inner.RoundTrip(r)
}

// get downloads a file.
func (r repository) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && auth.IsLoopback(u.Host) && auth.IsLoopback(r.base.Host)) {
		return nil, protocol.Invalid("%s: an archive is fetched by https only", shown(u))
	}
	var data []byte
	err = download.Retry(ctx, func() error {
		response, err := download.Get(ctx, r.transport, address)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if data, err = file.ReadAtMost(response.Body, limit); err != nil {
			return download.Failed(err)
		}
		return nil
	})
	if err != nil {
		return nil, &protocol.Error{Code: protocol.ExitCode(err), Message: shown(u), Err: err, Hint: protocol.HintOf(err)}
	}
	return data, nil
}

// shown is an address without its query, which may hold a token.
func shown(u *url.URL) string {
	plain := *u
	plain.RawQuery, plain.User = "", nil
	return plain.String()
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// entry is a version of a chart in the index of a repository.
type entry struct {
	Version string   `yaml:"version"`
	URLs    []string `yaml:"urls"`
	Digest  string   `yaml:"digest"`
}

// parseIndex lists the versions of the chart in an index. Entries of other charts are
// not looked at.
func parseIndex(data []byte, chart string) ([]entry, error) {
	var index struct {
		Entries map[string]yaml.Node `yaml:"entries"`
	}
	if err := yaml.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("index.yaml: %w", err)
	}
	node, ok := index.Entries[chart]
	if !ok {
		return nil, protocol.Invalid("index.yaml lists no chart %q", chart)
	}
	var entries []entry
	if err := node.Decode(&entries); err != nil {
		return nil, fmt.Errorf("index.yaml: %w", err)
	}
	return entries, nil
}

// choose is the entry with the version: 1.2.0 is v1.2.0 too.
func choose(entries []entry, version string) (entry, error) {
	wanted, err := semver.NewVersion(version)
	if err != nil {
		return entry{}, err
	}
	var newest []string
	for _, e := range entries {
		is, err := semver.NewVersion(e.Version)
		if err == nil && is.Equal(wanted) && is.Metadata() == wanted.Metadata() {
			if len(e.URLs) == 0 {
				return entry{}, errors.New("index.yaml names no archive of that version")
			}
			return e, nil
		}
		if len(newest) < 5 {
			newest = append(newest, e.Version)
		}
	}
	return entry{}, protocol.Invalid("index.yaml lists no version %s", version).WithHint("it lists %s, …", strings.Join(newest, ", "))
}

// findInRepository looks the version up in the index. When that tells a digest, the
// archive must have it.
func findInRepository(ctx context.Context, source protocol.ChartSource) (Chart, error) {
	r, err := openRepository(ctx, source.URL)
	if err != nil {
		return Chart{}, err
	}
	data, err := r.get(ctx, r.base.JoinPath("index.yaml").String(), maxIndex)
	if err != nil {
		return Chart{}, err
	}
	entries, err := parseIndex(data, source.Name)
	if err != nil {
		return Chart{}, err
	}
	chosen, err := choose(entries, source.Version)
	if err != nil {
		return Chart{}, err
	}
	at, err := r.base.Parse(chosen.URLs[0])
	if err != nil || at.User != nil {
		return Chart{}, protocol.Invalid("index.yaml names an archive at %q, which is no address", chosen.URLs[0])
	}
	found := Chart{URL: at.String()}
	if found.Archive, err = r.get(ctx, found.URL, file.MaxArchive); err != nil {
		return Chart{}, err
	}
	if want := strings.TrimPrefix(strings.ToLower(chosen.Digest), "sha256:"); want != "" && "sha256:"+want != found.Digest() {
		return Chart{}, fmt.Errorf("%s has the digest %s, and index.yaml tells %s", shown(at), found.Digest(), want)
	}
	if source.Keyring == "" {
		return found, nil
	}
	at.Path, at.RawPath = path.Clean(at.Path)+".prov", ""
	found.Provenance, err = r.get(ctx, at.String(), maxProvenance)
	if _, missing := errors.AsType[download.Missing](err); missing {
		err = nil
	}
	return found, err
}

// fetchFromRepository takes the archive from the address that is locked.
func fetchFromRepository(ctx context.Context, source protocol.ChartSource) ([]byte, error) {
	r, err := openRepository(ctx, source.URL)
	if err != nil {
		return nil, err
	}
	if source.Locked.Archive == "" {
		return nil, protocol.Invalid("harmony.lock does not tell the address of its archive").WithHint("run harmony lock --update")
	}
	return r.get(ctx, source.Locked.Archive, file.MaxArchive)
}
