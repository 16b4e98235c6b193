package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// drain is how long a registry that is to end waits for running requests.
const drain = 10 * time.Second

// Options say where a registry listens.
type Options struct {
	// Address is host:port; DefaultAddress when empty.
	Address string
	// AllowRemote permits an address that other machines can reach.
	AllowRemote bool
}

func (o Options) address() (string, error) {
	address := cmp.Or(o.Address, DefaultAddress)
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", protocol.Invalid("address %q is not host:port: %w", address, err)
	}
	if !o.AllowRemote && !isLoopback(address) {
		return "", protocol.Invalid("%s can be reached from other machines, and the registry has no accounts: anybody could push to it", address).
			WithHint("listen at %s, or set --allow-remote if that is intended", DefaultAddress)
	}
	return address, nil
}

// Serve runs the registry of the folder until ctx ends, and then lets the
// running requests finish. A folder that another process serves is an error, as
// is an address in use. The log gets errors and one line at the start and end.
func Serve(ctx context.Context, folder Folder, o Options, log io.Writer) error {
	address, err := o.address()
	if err != nil {
		return err
	}
	if err := folder.create(); err != nil {
		return err
	}
	lock, held, err := folder.acquire()
	if err != nil {
		return err
	}
	if !held {
		return alreadyServed(folder)
	}
	defer lock.Close()
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	logTo(log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handler, err := NewHandler(ctx, folder.Data())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := folder.writeListening(listening{os.Getpid(), address, listener.Addr().String()}); err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(log, "registry at %s, storage in %s\n", listener.Addr(), folder.Data())
	if err := serve(ctx, listener, local(handler, o.AllowRemote)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(log, "registry stopped")
	return err
}

func alreadyServed(folder Folder) error {
	pid, err := folder.holder()
	if err != nil {
		return err
	}
	return fmt.Errorf("process %d already serves %s", pid, folder)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		failed := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("another program listens at %s", address), Err: syscall.EADDRINUSE}
		return nil, failed.WithHint("choose another address with --addr, and name it in the topology or in HARMONY_REGISTRY")
	}
	return listener, err
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return errors.Join(fmt.Errorf("end running requests: %w", err), server.Close())
	}
	return nil
}
