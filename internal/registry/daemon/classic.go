package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// BuildOptions are those of the classic builder.
type BuildOptions struct {
	// Dockerfile is its path in the context.
	Dockerfile string
	// Target is the stage to build; the last when empty.
	Target string
	// Platform is os/arch[/variant], or empty for the daemon's own.
	Platform string
	Args     map[string]string
	NoCache  bool
	// Credentials is the header X-Registry-Config, for base images; it may be
	// empty.
	Credentials string
}

// Message is one of a classic build.
type Message struct {
	// Stream is a part of the output, which ends with a line's end or not.
	Stream string `json:"stream"`
	// Error ends the build.
	Error string `json:"error"`
	// Aux has the ID of the image.
	Aux struct{ ID string } `json:"aux"`
}

// Build builds the context, a tar stream, with the classic builder, hands on
// its messages, and returns the ID of the image, which has no name yet. A
// message with an Error ends it with that error, a [*Refusal]. When ctx ends the
// daemon stops building.
func (c *Client) Build(ctx context.Context, o BuildOptions, content io.Reader, show func(Message)) (string, error) {
	args, err := json.Marshal(o.Args)
	if err != nil {
		return "", err
	}
	query := url.Values{
		"version": {"1"}, "dockerfile": {o.Dockerfile}, "buildargs": {string(args)}, "rm": {"1"}, "forcerm": {"1"},
	}
	for name, value := range map[string]string{"target": o.Target, "platform": o.Platform} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if o.NoCache {
		query.Set("nocache", "1")
	}
	header := http.Header{"Content-Type": {"application/x-tar"}}
	if o.Credentials != "" {
		header.Set("X-Registry-Config", o.Credentials)
	}
	response, err := c.do(ctx, http.MethodPost, "/build", query, header, content)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	return c.messages(ctx, response.Body, show)
}

func (c *Client) messages(ctx context.Context, body io.Reader, show func(Message)) (id string, err error) {
	for decoder := json.NewDecoder(body); ; {
		var m Message
		err := decoder.Decode(&m)
		switch {
		case errors.Is(err, io.EOF) && id == "":
			return "", fmt.Errorf("the daemon at %s ended the build without an image", c.endpoint)
		case errors.Is(err, io.EOF):
			return id, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return "", c.lost(ctx, fmt.Errorf("the build's output ends early: %w", err))
		case m.Error != "":
			return "", &Refusal{Daemon: c.endpoint.String(), Status: http.StatusOK, Message: m.Error}
		case m.Aux.ID != "":
			id = m.Aux.ID
		}
		show(m)
	}
}
