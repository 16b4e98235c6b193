package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/devices/collector"
	"github.com/nationtech/harmony/pkg/protocol"
)

type serveFlags struct {
	collector.Collector
	address                     string
	certificate, key, authority string
}

func (c *cli) serve() *cobra.Command {
	f := &serveFlags{}
	f.Log = c.stderr
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take reports by HTTP, and store them in the registry",
		Long: `Take reports of devices by HTTP, and store them in the registry where harmony reads them.
A device needs a client certificate of your authority: its common name is the device's
name, and its organization the group that the device reports in.

It keeps nothing itself: a report is answered with 204 when the registry has it, and may be
sent again after any other answer. Several may run beside each other. The account for the
registry is that of 'docker login' on this machine. The certificate is read again when its
file has changed.`,
		Example: `  harmony devices serve --cert collector.crt --key collector.key --client-ca devices-ca.crt \
    --reports registry.example.com/edge-reports --app operator

  # on a device
  curl --cert shop-7.crt --key shop-7.key --cacert ca.crt -X PUT \
    -d '{"revision":"ring-1@sha256:…","state":"ready"}' \
    https://collector.example.com:8443/v1/groups/shops/operator/shop-7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	set := cmd.Flags()
	set.StringVar(&f.address, "addr", ":8443", "the `address` to listen at, host:port")
	set.StringVar(&f.certificate, "cert", "", "the `file` with the collector's certificate, in PEM")
	set.StringVar(&f.key, "key", "", "the `file` with its private key, in PEM")
	set.StringVar(&f.authority, "client-ca", "", "the `file` with the authorities of the devices' certificates, in PEM")
	set.StringVar(&f.Registry, "reports", "", "the `registry` of reports, as in reports.registry of the target: registry.example.com/edge-reports")
	set.BoolVar(&f.Insecure, "insecure", false, "allow plain http to a registry that is not on the loopback")
	set.StringSliceVar(&f.Apps, "app", nil, "the `apps` that are reported on; any by default")
	return cmd
}

// required refuses a command line that lacks what has no default.
func (f *serveFlags) required() error {
	for _, flag := range []struct{ name, value string }{{"cert", f.certificate}, {"key", f.key}, {"client-ca", f.authority}, {"reports", f.Registry}} {
		if flag.value == "" {
			return protocol.Invalid("--%s is required", flag.name).WithHint("harmony devices serve --help has an example")
		}
	}
	return nil
}

func (f *serveFlags) run(ctx context.Context) error {
	if err := f.required(); err != nil {
		return err
	}
	if _, err := devices.Reports(f.Registry, f.Insecure, "group", "", "app"); err != nil {
		return fmt.Errorf("--reports: %w", err)
	}
	text, err := os.ReadFile(f.authority)
	if err != nil {
		return protocol.Invalid("--client-ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return protocol.Invalid("--client-ca: %s has no certificate in PEM", f.authority)
	}
	own := &pair{certificate: f.certificate, key: f.key}
	if _, err := own.get(); err != nil {
		return protocol.Invalid("%w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.address)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	return f.Serve(ctx, listener, own.get, authorities)
}

// pair is a certificate with its key, in files that whoever renews them writes.
type pair struct {
	certificate, key string

	mu     sync.Mutex
	read   time.Time
	text   []byte
	loaded *tls.Certificate
}

// reread is how often the files are looked at.
const reread = 10 * time.Second

// get is the pair as the files have it. While they cannot be used, for they are being
// written, it is the one before.
func (p *pair) get() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil && time.Since(p.read) < reread {
		return p.loaded, nil
	}
	p.read = time.Now()
	text, err := os.ReadFile(p.certificate)
	if err == nil && p.loaded != nil && bytes.Equal(text, p.text) {
		return p.loaded, nil
	}
	if err == nil {
		var made tls.Certificate
		if made, err = tls.LoadX509KeyPair(p.certificate, p.key); err == nil {
			p.text, p.loaded = text, &made
		}
	}
	if p.loaded != nil {
		return p.loaded, nil
	}
	return nil, fmt.Errorf("--cert and --key: %w", err)
}
