package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the storage that configure names
)

// NewHandler serves the registry API from a folder of storage. Whoever can
// reach it may push and delete: it knows no accounts. Its background work ends
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
