package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Image is one that the daemon has.
type Image struct {
	// ID is what the daemon calls it: the digest of its configuration, or of its
	// manifest where the daemon keeps images in containerd.
	ID string `json:"Id"`
	// Architecture, OS and Variant are its platform.
	Architecture string
	OS           string `json:"Os"`
	Variant      string
	// Tagged is when it got its last name, where the daemon says so, else when it
	// was made.
	Tagged time.Time `json:"-"`
	// Config is the part of its configuration that decides what a build FROM it
	// takes.
	Config struct{ Env, OnBuild []string }
}

// Image looks for an image by name or ID; see [IsNotFound].
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	var image struct {
		Image
		Created  time.Time
		Metadata struct{ LastTagTime time.Time }
	}
	err := c.get(ctx, "/images/"+name+"/json", nil, &image)
	image.Tagged = image.Metadata.LastTagTime
	if image.Tagged.IsZero() {
		image.Tagged = image.Created
	}
	return image.Image, err
}

// Save is a tar stream of the image, as docker save makes it. The caller closes
// it.
func (c *Client) Save(ctx context.Context, name string) (io.ReadCloser, error) {
	response, err := c.do(ctx, http.MethodGet, "/images/"+name+"/get", nil, nil, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Tags lists the names of the images of a repository.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	filters, err := json.Marshal(map[string][]string{"reference": {repository}})
	if err != nil {
		return nil, err
	}
	var images []struct{ RepoTags []string }
	if err := c.get(ctx, "/images/json", url.Values{"filters": {string(filters)}}, &images); err != nil {
		return nil, err
	}
	var all []string
	for _, image := range images {
		all = append(all, image.RepoTags...)
	}
	return all, nil
}

// Tag gives the image another name, repository:tag.
func (c *Client) Tag(ctx context.Context, id, name string) error {
	repository, tag := name, ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') { // else it is a registry's port
		repository, tag = name[:i], name[i+1:]
	}
	query := url.Values{"repo": {repository}, "tag": {tag}}
	return c.send(ctx, http.MethodPost, "/images/"+id+"/tag", query)
}

// Untag removes a name, and the image when it was its last one. A container
// that uses the image keeps it.
func (c *Client) Untag(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/images/"+name, nil)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values) error {
	response, err := c.do(ctx, method, path, query, nil, nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	response, err := c.do(ctx, http.MethodGet, path, query, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("the daemon at %s: answer to %s: %w", c.endpoint, path, err)
	}
	return nil
}
