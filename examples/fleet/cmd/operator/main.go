// Operator keeps the registry of the fleet's devices.
//
//	GET  /devices              all devices, sorted by id
//	POST /devices/{id}/report  {"version": "1.4.0"} with a bearer token, which callout judges
//	GET  /metrics              in Prometheus' text format
//	GET  /healthz              the process lives, and its version
//	GET  /readyz               ready when callout is ready
//
// The registry is soft state: devices report every few seconds, and one that
// falls silent is first offline and then forgotten. Nothing is stored, and a
// new operator knows the fleet after one interval.
//
// Environment: CALLOUT_URL (see service.ServiceURL for what holds without it),
// OFFLINE_AFTER, FORGET_AFTER, LISTEN_ADDRESS, LOG_LEVEL, APP_VERSION.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"example.com/fleet/internal/service"
)

func main() { os.Exit(service.Main(run)) }

func run(ctx context.Context, log *slog.Logger, env service.Environment) error {
	registry, err := newRegistry(env)
	if err != nil {
		return err
	}
	url, err := env.ServiceURL("CALLOUT_URL", "fleet-callout")
	if err != nil {
		return err
	}
	log.Info("asking callout", "url", url)
	s := &server{
		log:       log,
		version:   env.Text("APP_VERSION", "dev"),
		registry:  registry,
		admission: newCallout(url),
		metrics:   newMetrics(),
	}
	return service.Serve(ctx, log, env.Text("LISTEN_ADDRESS", ":8080"), s.handler())
}

func newRegistry(env service.Environment) (*registry, error) {
	offlineAfter, err := env.Duration("OFFLINE_AFTER", 30*time.Second)
	if err != nil {
		return nil, err
	}
	forgetAfter, err := env.Duration("FORGET_AFTER", 10*time.Minute)
	if err != nil {
		return nil, err
	}
	if forgetAfter < offlineAfter {
		return nil, fmt.Errorf("FORGET_AFTER (%s) must not be shorter than OFFLINE_AFTER (%s)", forgetAfter, offlineAfter)
	}
	return &registry{
		devices:      map[string]device{},
		offlineAfter: offlineAfter,
		forgetAfter:  forgetAfter,
		capacity:     10_000,
		now:          time.Now,
	}, nil
}
