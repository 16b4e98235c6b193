// Package collector takes reports of edge devices by HTTP, and stores them in a registry as
// the artifacts that devices with an account of the registry push themselves.
//
// It has no state of its own: a report is acknowledged when the registry has it. Devices
// prove who they are by client certificates, and speak for themselves alone.
package collector

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What a device may ask of a collector.
const (
	maxBody       = 4 << 10
	maxHeader     = 8 << 10
	maxAtOnce     = 64
	maxRemembered = 10000
	// perDevice is how often a device may report, after a few at once.
	perDevice, burst = rate.Limit(1), 5

	headerTime = 5 * time.Second
	readTime   = 10 * time.Second
	storeTime  = 30 * time.Second
	idleTime   = 2 * time.Minute
	drain      = 10 * time.Second
)

// Collector stores reports.
type Collector struct {
	// Registry holds the reports: host and prefix. Insecure allows plain http.
	Registry string
	Insecure bool
	// Apps are those that are reported on; any when empty.
	Apps []string
	// Log gets a line for each report and each refusal.
	Log io.Writer

	slots chan struct{}
	log   *log.Logger

	mu           sync.Mutex
	known        map[string]*device
	repositories map[string]devices.Repository
}

// device is one that has reported.
type device struct {
	mu    sync.Mutex // a report is stored after the one before
	limit *rate.Limiter
}

// Serve answers at the listener until ctx ends, and then lets running requests finish.
// Clients need a certificate of one of the authorities.
func (c *Collector) Serve(ctx context.Context, listener net.Listener, certificate func() (*tls.Certificate, error), authorities *x509.CertPool) error {
	c.log = log.New(cleaned{c.Log}, "", log.LstdFlags|log.LUTC)
	c.slots = make(chan struct{}, maxAtOnce)
	c.known, c.repositories = map[string]*device{}, map[string]devices.Repository{}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/groups/{group}/{app}/{device}", c.take)
	mux.HandleFunc("PUT /v1/devices/{device}/{app}", c.take)
	server := &http.Server{
		Handler: mux, ErrorLog: c.log, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: readTime + storeTime + drain, IdleTimeout: idleTime,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		},
	}
	c.log.Printf("takes reports at %s for %s", listener.Addr(), c.Registry)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
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
	c.log.Print("stopped")
	return nil
}

// take stores the report of a request.
func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	group, app, name := r.PathValue("group"), r.PathValue("app"), r.PathValue("device")
	status, err := c.admit(r, group, app, name)
	if err == nil {
		status, err = c.store(w, r, group, app, name)
	}
	if err != nil {
		c.log.Printf("%s: %d, %v", cmp.Or(who(r), r.RemoteAddr), status, err)
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		http.Error(w, term.Clean(err.Error()), status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// admit refuses a device that speaks for another one, or for a group that it is not in.
func (c *Collector) admit(r *http.Request, group, app, name string) (int, error) {
	certificate := r.TLS.PeerCertificates[0]
	switch {
	case !protocol.ValidName(name) || !protocol.ValidName(app) || group != "" && !protocol.ValidName(group):
		return http.StatusBadRequest, errors.New("a group, an app and a device are named by lower-case letters, digits and dashes")
	case certificate.Subject.CommonName != name:
		return http.StatusForbidden, fmt.Errorf("the certificate is that of %q, not of %s", certificate.Subject.CommonName, name)
	case group != "" && !slices.Contains(certificate.Subject.Organization, group):
		return http.StatusForbidden, fmt.Errorf("the certificate of %s names the groups %q as its organization, not %s", name, certificate.Subject.Organization, group)
	case len(c.Apps) > 0 && !slices.Contains(c.Apps, app):
		return http.StatusForbidden, fmt.Errorf("no reports on %s are taken here", app)
	}
	return 0, nil
}

func (c *Collector) store(w http.ResponseWriter, r *http.Request, group, app, name string) (int, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, fmt.Errorf("a report has at most %d bytes", maxBody)
	case err != nil:
		return http.StatusRequestTimeout, fmt.Errorf("the report did not come whole: %w", err)
	}
	said, err := devices.ParseReport(text)
	if err != nil {
		return http.StatusBadRequest, err
	}
	d := c.device(name)
	if !d.limit.Allow() {
		return http.StatusTooManyRequests, errors.New("a device reports once in a second")
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return http.StatusServiceUnavailable, fmt.Errorf("%d reports are being stored already", maxAtOnce)
	}
	repository, err := c.repository(group, app, name)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A device that does not wait for the answer has reported all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTime)
	defer cancel()
	report := said.Of(name, time.Now())
	if err := repository.Store(ctx, report, said.Revision, said.Labels); err != nil {
		c.log.Printf("%s: %v", name, err)
		return http.StatusServiceUnavailable, errors.New("the registry does not take the report now")
	}
	c.log.Printf("%s: %s, %s on %s", name, repository, report.State, report.Digest)
	return 0, nil
}

// device is one that reports. When too many are remembered, all are forgotten, and with
// them no more than how often they have reported in the last seconds.
func (c *Collector) device(name string) *device {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxRemembered {
		clear(c.known)
	}
	d := c.known[name]
	if d == nil {
		d = &device{limit: rate.NewLimiter(perDevice, burst)}
		c.known[name] = d
	}
	return d
}

func (c *Collector) repository(group, app, name string) (devices.Repository, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := group + "/" + app
	if group == "" {
		key = "/" + name + "/" + app
	}
	if r, ok := c.repositories[key]; ok {
		return r, nil
	}
	if len(c.repositories) >= maxRemembered {
		clear(c.repositories)
	}
	r, err := devices.Reports(c.Registry, c.Insecure, group, name, app)
	if err == nil {
		c.repositories[key] = r
	}
	return r, err
}

// who is the name in a request's certificate.
func who(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.CommonName
}

// cleaned keeps lines of a log to lines, whatever a client sends.
type cleaned struct{ io.Writer }

// Write implements [io.Writer].
func (c cleaned) Write(line []byte) (int, error) {
	_, err := fmt.Fprintln(c.Writer, term.OneLine(string(line)))
	return len(line), err
}
