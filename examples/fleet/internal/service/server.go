package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drain is how long running requests may take after the signal to stop. It is
// below the charts' terminationGracePeriodSeconds.
const drain = 3 * time.Second

// Main runs a program until SIGTERM or SIGINT and returns its exit status.
func Main(run func(ctx context.Context, log *slog.Logger, env Environment) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := Environment(os.Getenv)
	log, err := env.Logger()
	if err != nil {
		slog.Error("bad configuration", "error", err)
		return 2
	}
	if err := run(ctx, log, env); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// Serve answers HTTP on address until ctx ends, then lets the running
// requests finish.
func Serve(ctx context.Context, log *slog.Logger, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return serveOn(ctx, log, listener, handler)
}

func serveOn(ctx context.Context, log *slog.Logger, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.Info("listening", "address", listener.Addr().String())

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return shutdown(context.WithoutCancel(ctx), server)
}

func shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("requests were still running %s after the signal to stop", drain)
	}
	return err
}

// Client returns an HTTP client for calls to another program of the fleet. It
// follows no redirect, so that a token goes only where it was addressed to.
func Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}
