// Command staticserver serves a folder of files that does not change. It is the
// program in the images of the buildable static, which carries its source.
//
// It serves what its index names and nothing else, so that no request can lead
// out of the folder or list one. It has the standard library only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// grace is how long requests in progress may take after SIGTERM: less than the
// 30 seconds that Kubernetes waits before it kills.
const grace = 25 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "staticserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: staticserver INDEX")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var s site
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(s.Port)))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "staticserver: serving", len(s.Files), "files on", listener.Addr())
	return serve(ctx, listener, &s)
}

// serve answers requests, and ends those in progress before it returns.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return server.Shutdown(last)
}
