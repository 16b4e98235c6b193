package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/fleet/internal/service"
)

// A decision is callout's answer about one device.
type decision struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
}

// callout asks the program fleet-callout.
type callout struct {
	url    string
	client *http.Client
}

func newCallout(url string) *callout {
	return &callout{url: url, client: service.Client(1500 * time.Millisecond)}
}

// admit asks whether the device may report with this token. An error means
// that there is no answer; nobody is let in then.
func (c *callout) admit(ctx context.Context, device, token string) (decision, error) {
	body, err := json.Marshal(map[string]string{"device": device, "token": token})
	if err != nil {
		return decision{}, err
	}
	var answer decision
	err = c.call(ctx, http.MethodPost, "/admit", bytes.NewReader(body), &answer)
	return answer, err
}

// ready tells whether callout can decide now.
func (c *callout) ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

func (c *callout) call(ctx context.Context, method, path string, body io.Reader, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return fmt.Errorf("callout: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("callout: %w", err)
	}
	defer response.Body.Close()
	// Read to the end, so that the connection can be used again.
	data, err := io.ReadAll(io.LimitReader(response.Body, service.MaxBody))
	if err != nil {
		return fmt.Errorf("callout: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("callout: %s %s answered %s", method, path, response.Status)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("callout: %s %s: %w", method, path, err)
	}
	return nil
}
