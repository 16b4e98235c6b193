package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the storage that configure names
)

// NewHandler serves the registry API from a folder of storage. Anybody who can
// reach it may push and delete: it has no accounts. Its background work ends
// with ctx. It logs to logrus's standard logger.
func NewHandler(ctx context.Context, data string) (http.Handler, error) {
	return newHandler(ctx, configure(data))
}

func newHandler(ctx context.Context, c *configuration.Configuration) (handler http.Handler, err error) {
	defer func() {
		if problem := recover(); problem != nil { // as NewApp reports a bad configuration
			err = fmt.Errorf("registry: %v", problem)
		}
	}()
	return handlers.NewApp(ctx, c), nil
}

func configure(data string) *configuration.Configuration {
	c := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": data},
			"delete":     configuration.Parameters{"enabled": true},
			"cache":      configuration.Parameters{"blobdescriptor": "inmemory"},
		},
	}
	c.Log.AccessLog.Disabled = true
	c.Catalog.MaxEntries = 1000
	return c
}

// local refuses what only a web page would ask for: another host than this
// machine, whose name was made to resolve to it, unless anyHost is set, and a
// request from another origin.
func local(next http.Handler, anyHost bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("Origin")
		origin, err := url.Parse(from)
		if (anyHost || isLoopback(r.Host)) && (from == "" || err == nil && origin.Host == r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"this registry answers to localhost only, unless it is started with --allow-remote, and to no web page"}]}`+"\n")
	})
}
