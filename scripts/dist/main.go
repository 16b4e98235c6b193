// Command dist builds the release, and checks the plugin index against it.
//
//	go run ./scripts/dist build [-version 1.4.0]
//	go run ./scripts/dist index [-version 1.4.0]
//	go run ./scripts/dist check
//
// build makes dist/VERSION: an archive of each command in cmd for each platform,
// SHA256SUMS, and plugin-index/ with a manifest of each plugin. It is
// reproducible: two builds of one source give the same bytes, in whatever folder.
//
// index makes the manifests in plugin-index/ those of such a build: the last step
// before a release is tagged.
//
// check requires one form of the manifests in plugin-index/, and compares their hashes with
// the archives: those in dist/VERSION, which it makes itself when the commit is
// tagged as that version. All are run from the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(protocol.ExitCode(err))
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return protocol.Invalid("say build, index or check")
	}
	r := release{root: ".", index: "plugin-index", platforms: platforms()}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the version to build (default that of the manifests in plugin-index)")
	flags.StringVar(&r.url, "url", "https://github.com/nationtech/harmony/releases/download", "the `address` below which vVERSION/FILE is going to be")
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return protocol.Invalid("%w", err)
	}
	var err error
	if r.commands, err = commandsIn(r.root); err != nil {
		return err
	}
	if r.version == "" {
		if r.version, err = r.indexVersion(); err != nil {
			return err
		}
	}
	switch args[0] {
	case "build":
		return r.build(ctx)
	case "index":
		return r.takeManifests()
	case "check":
		return r.check(ctx)
	}
	return protocol.Invalid("no command %q: say build, index or check", args[0])
}

// commandsIn lists the commands of the repository.
func commandsIn(root string) ([]string, error) {
	folders, err := os.ReadDir(filepath.Join(root, "cmd"))
	if err != nil {
		return nil, protocol.Invalid("run this from the root of the repository: %w", err)
	}
	var commands []string
	for _, folder := range folders {
		commands = append(commands, folder.Name())
	}
	return commands, nil
}
