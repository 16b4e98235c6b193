// Server serves a folder of files over HTTP.
//
//	server serve   serves the folder SITE on LISTEN_ADDRESS, until SIGTERM
//	server check   exits with 0 when the server beside it answers: for HEALTHCHECK
//
// /healthz answers with the version that APP_VERSION names.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, log, os.Args[1:], os.Getenv); err != nil {
		log.Error("stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, args []string, getenv func(string) string) error {
	address := getenv("LISTEN_ADDRESS")
	if address == "" {
		address = ":8080"
	}
	if len(args) != 1 {
		return errors.New("want one argument: serve or check")
	}
	switch args[0] {
	case "check":
		return check(ctx, address)
	case "serve":
		root, err := os.OpenRoot(getenv("SITE"))
		if err != nil {
			return fmt.Errorf("SITE: %w", err)
		}
		defer root.Close()
		return serve(ctx, log, address, newHandler(root.FS(), getenv("APP_VERSION")))
	default:
		return fmt.Errorf("%q is neither serve nor check", args[0])
	}
}

func newHandler(site fs.FS, version string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "ok %s\n", version)
	})
	mux.Handle("GET /", http.FileServerFS(site))
	return mux
}

// serve answers until ctx ends, then lets the running requests finish.
func serve(ctx context.Context, log *slog.Logger, address string, handler http.Handler) error {
	server := &http.Server{
		Addr:              address,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Info("serving", "address", address)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	return server.Shutdown(drain)
}

func check(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDRESS: %w", err)
	}
	if host == "" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10)); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
