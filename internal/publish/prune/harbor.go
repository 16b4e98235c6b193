package prune

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// harborService is what Harbor calls itself when it asks for a token.
	harborService = "harbor-registry"
	// harborPage is the most artifacts that Harbor lists at once.
	harborPage = 100
	// maxListed bounds an answer of Harbor's.
	maxListed = 16 << 20
)

// untagged lists the artifacts of a repository that no tag names. Only Harbor's
// API has them (goharbor.io, API 2.0, listArtifacts: those that are a part of an
// index are not among them).
func (r *Registry) untagged(ctx context.Context, repository name.Repository) ([]Entry, error) {
	guard := r.guard(repository)
	challenge, err := transport.Ping(ctx, repository.Registry, guard)
	if err != nil {
		return nil, auth.Classify(err)
	}
	project, rest, ok := strings.Cut(repository.RepositoryStr(), "/")
	if challenge.Parameters["service"] != harborService || !ok {
		return nil, nil
	}
	r.harbor[repository.Name()] = true
	scheme := "https"
	if challenge.Insecure {
		scheme = "http"
	}
	// A slash in the name is encoded twice over.
	address := fmt.Sprintf("%s://%s/api/v2.0/projects/%s/repositories/%s/artifacts", scheme, repository.RegistryStr(), url.PathEscape(project), url.PathEscape(url.PathEscape(rest)))
	client := &http.Client{Transport: guard, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var entries []Entry
	for page := 1; ; page++ {
		listed, err := harborArtifacts(ctx, client, fmt.Sprintf("%s?with_tag=true&page_size=%d&page=%d", address, harborPage, page), repository)
		if err != nil {
			return nil, err
		}
		for _, a := range listed {
			if len(a.Tags) == 0 {
				entries = append(entries, a.entry(repository.Name()))
			}
		}
		if len(listed) < harborPage {
			return entries, nil
		}
	}
}

type artifact struct {
	Digest   string    `json:"digest"`
	PushTime time.Time `json:"push_time"`
	Tags     []struct {
		Name string `json:"name"`
	} `json:"tags"`
	References []struct {
		Digest string `json:"child_digest"`
	} `json:"references"`
}

func (a artifact) entry(repository string) Entry {
	e := Entry{Repository: repository, Digest: a.Digest, Created: known(a.PushTime)}
	for _, part := range a.References {
		e.parts = append(e.parts, part.Digest)
	}
	return e
}

// harborArtifacts asks for a page of artifacts, with the credentials of the
// repository.
func harborArtifacts(ctx context.Context, client *http.Client, address string, repository name.Repository) ([]artifact, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	credentials, err := auth.Find(ctx, repository)
	if err != nil {
		return nil, err
	}
	if credentials.Auth.Username != "" {
		request.SetBasicAuth(credentials.Auth.Username, credentials.Auth.Password)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, protocol.Retryable("%w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, nil // no such repository
	}
	if response.StatusCode != http.StatusOK {
		err := auth.Classify(transport.CheckError(response, http.StatusOK))
		return nil, (&protocol.Error{Code: protocol.ExitCode(err), Message: "list the artifacts of " + repository.Name() + " that have no tag", Err: err}).
			WithHint("the account needs Harbor's permission to list artifacts")
	}
	var listed []artifact
	if err := json.NewDecoder(io.LimitReader(response.Body, maxListed)).Decode(&listed); err != nil {
		return nil, fmt.Errorf("artifacts of %s: %w", repository.Name(), err)
	}
	for _, a := range listed {
		if _, err := name.NewDigest(repository.Name() + "@" + a.Digest); err != nil {
			return nil, fmt.Errorf("artifacts of %s: %w", repository.Name(), err)
		}
	}
	return listed, nil
}
