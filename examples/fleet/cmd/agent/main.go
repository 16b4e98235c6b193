// Agent runs on a device and reports to the operator.
//
//	GET /healthz  the process lives, and its version
//	GET /readyz   ready after the first report that the operator accepted
//
// Environment: DEVICE_ID (the host's name when not set), OPERATOR_URL (see
// service.ServiceURL for what holds without it), TOKEN_FILE (a mounted Secret)
// or TOKEN, REPORT_INTERVAL, LISTEN_ADDRESS, LOG_LEVEL, APP_VERSION.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"example.com/fleet/internal/service"
)

func main() { os.Exit(service.Main(run)) }

func run(ctx context.Context, log *slog.Logger, env service.Environment) error {
	a, err := newAgent(log, env)
	if err != nil {
		return err
	}
	log.Info("reporting", "device", a.device, "operator", a.url, "interval", a.interval.String())
	ctx, stop := context.WithCancel(ctx)
	reporting := make(chan struct{})
	go func() {
		defer close(reporting)
		a.loop(ctx)
	}()
	err = service.Serve(ctx, log, env.Text("LISTEN_ADDRESS", ":8080"), a.handler())
	stop()
	<-reporting
	return err
}

func newAgent(log *slog.Logger, env service.Environment) (*agent, error) {
	device, err := deviceID(env)
	if err != nil {
		return nil, err
	}
	url, err := env.ServiceURL("OPERATOR_URL", "fleet-operator")
	if err != nil {
		return nil, err
	}
	interval, err := env.Duration("REPORT_INTERVAL", 2*time.Second)
	if err != nil {
		return nil, err
	}
	token := func() (string, error) { return env.Secret("TOKEN") }
	if _, err := token(); err != nil {
		return nil, err
	}
	return &agent{
		log:      log,
		device:   device,
		version:  env.Text("APP_VERSION", "dev"),
		url:      url,
		interval: interval,
		token:    token,
		client:   service.Client(3 * time.Second),
	}, nil
}

func deviceID(env service.Environment) (string, error) {
	if id := env("DEVICE_ID"); id != "" {
		return id, nil
	}
	return os.Hostname()
}

func (a *agent) handler() http.Handler {
	mux := http.NewServeMux()
	service.Health(mux, a.version, func(context.Context) error {
		if !a.accepted.Load() {
			return errors.New("the operator has not accepted a report yet")
		}
		return nil
	})
	return mux
}
