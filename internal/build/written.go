package build

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/pkg/protocol"
)

func openBuildable(j *job) (buildable.Source, error) {
	return buildable.Open(buildable.Options{
		App: j.app, Platforms: j.platforms, Created: j.created, Memory: j.memory, DryRun: j.env.DryRun,
		Finder: lock.Finder(os.Getenv("PATH")),
		Progress: func(phase, message string) {
			j.env.Progress(protocol.Event{Metadata: j.app.Metadata, Phase: phase, Message: message})
		},
	})
}

// checkoutModes gives what was written into a folder modes that do not depend on the
// umask.
func checkoutModes(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, dockerfile.Checkout(info.Mode()))
	})
}
