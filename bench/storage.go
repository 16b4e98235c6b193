package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// storage is a registry of this run's own, Debian's docker-registry, so that it
// can be emptied.
type storage struct {
	host, folder string
	server       *exec.Cmd
}

// startStorage starts the registry and waits for it.
func startStorage(ctx context.Context, b *bench) (*storage, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &storage{host: listener.Addr().String(), folder: b.path("registry")}
	listener.Close()
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nlog: {level: error, accesslog: {disabled: true}}\n", s.folder, s.host)
	if err := os.WriteFile(b.path("registry.yaml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	s.server = exec.Command("docker-registry", "serve", b.path("registry.yaml"))
	s.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C ends it through stop
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	err = poll(ctx, 20*time.Second, func() error {
		response, err := http.Get("http://" + s.host + "/v2/")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("docker-registry: %w", err), s.stop())
	}
	return s, nil
}

// empty forgets all that was pushed.
func (s *storage) empty(context.Context) error {
	defer settle()
	return os.RemoveAll(s.folder)
}

// settle has the system write what it has not written yet, so that no push pays
// for the bytes of another.
func settle() { syscall.Sync() }

// stop ends the registry.
func (s *storage) stop() error {
	if err := s.server.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := s.server.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}
