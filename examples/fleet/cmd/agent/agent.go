package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// After a failed report the agent waits for backoffFirst, then twice as long
// each time, up to backoffMost.
const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 15 * time.Second
)

type agent struct {
	log      *slog.Logger
	device   string
	version  string
	url      string
	interval time.Duration
	token    func() (string, error)
	client   *http.Client

	accepted atomic.Bool // a report has been accepted since the start
}

// loop reports until ctx ends.
func (a *agent) loop(ctx context.Context) {
	failures := 0
	for {
		err := a.report(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			a.log.Warn("report failed", "error", err, "failures", failures)
		default:
			if failures > 0 || !a.accepted.Load() {
				a.log.Info("report accepted")
			}
			a.accepted.Store(true)
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(delay(a.interval, failures))):
		}
	}
}

// delay is how long to wait after this many failures in a row.
func delay(interval time.Duration, failures int) time.Duration {
	if failures == 0 {
		return interval
	}
	// Beyond six doublings the limit holds anyway.
	return min(backoffFirst<<min(failures-1, 6), backoffMost)
}

// jitter varies d by up to a fifth in both directions, so that agents started
// together do not report together for ever.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// report sends one report. Each goes over a connection of its own: behind one
// service address several operators share the load, and each keeps its own
// registry, so each must hear of the device from time to time.
func (a *agent) report(ctx context.Context) error {
	token, err := a.token()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"version": a.version})
	if err != nil {
		return err
	}
	address := a.url + "/devices/" + url.PathEscape(a.device) + "/report"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	return refusal(response)
}

// refusal is an answer other than 204, with the reason that the operator gave.
func refusal(response *http.Response) error {
	var answer struct {
		Error string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(response.Body, 4<<10)).Decode(&answer) != nil || answer.Error == "" {
		return fmt.Errorf("the operator answered %s", response.Status)
	}
	return fmt.Errorf("the operator answered %s: %s", response.Status, answer.Error)
}
