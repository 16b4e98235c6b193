package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// source is what an image is built from: a folder with a Dockerfile and its
// context, and a cache for harmony next to it.
type source struct{ name, root string }

func (s source) context() string { return filepath.Join(s.root, "context") }
func (s source) cache() string   { return filepath.Join(s.root, "cache") }
func (s source) file() string    { return filepath.Join(s.root, "harmony.yaml") }

// source makes the folder of a source with this Dockerfile.
func (t *builders) source(name, dockerfile string) (source, error) {
	s := source{name: name, root: t.bench.path("build", name)}
	if err := os.MkdirAll(s.context(), 0o755); err != nil {
		return s, err
	}
	return s, os.WriteFile(filepath.Join(s.context(), "Dockerfile"), []byte(dockerfile), 0o644)
}

// configure writes the harmony.yaml of the source.
func (s source) configure(registry, provider string) error {
	text := fmt.Sprintf(`apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: bench}
spec:
  image: {dockerfile: {path: context/Dockerfile, context: context}}
  chart: {path: chart, image: {value: image}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: bench}
spec:
  containerBuilder: {%s}
  ociRegistry: {adapter: oci, url: %s}
`, provider, registry)
	return os.WriteFile(s.file(), []byte(text), 0o644)
}

// writeLarge writes that many MiB of text into the context, in files of 1 MiB.
// The text is made up of words, and compresses as text does.
func (s source) writeLarge(mebibytes int) error {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4096)
	for i := range words {
		words[i] = strconv.FormatUint(random.Uint64()>>(random.UintN(40)), 36) + " "
	}
	text := make([]byte, 0, 1<<20+16)
	for i := range mebibytes {
		text = text[:0]
		for len(text) < 1<<20 {
			text = append(text, words[random.IntN(len(words))]...)
		}
		if err := s.write(fmt.Sprintf("%d/%d", i/64, i), text[:1<<20]); err != nil {
			return err
		}
	}
	return nil
}

// writeMany writes that many small files into the context, a hundred a folder.
func (s source) writeMany(files int) error {
	for i := range files {
		if err := s.write(fmt.Sprintf("%d/%d", i/100, i), fmt.Appendf(nil, "the file %d of many\n", i)); err != nil {
			return err
		}
	}
	return nil
}

func (s source) write(name string, content []byte) error {
	path := filepath.Join(s.context(), "data", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// copyBusybox puts this machine's busybox, which is static, into the context.
func (s source) copyBusybox() error {
	from, err := os.Open("/bin/busybox")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(s.context(), "busybox"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// inside is the work of harmony-build without the processes around it: what the
// process does between reading its documents and writing its result.
func (s source) inside() (command, error) {
	project, err := config.Load(s.file())
	if err != nil {
		return command{}, err
	}
	topology, err := project.Topology("bench", os.Getenv)
	if err != nil {
		return command{}, err
	}
	env := capability.Environment{
		Topology: topology, Provider: *topology.ContainerBuilder,
		Cache: filepath.Join(s.cache(), "harmony", "build"), Progress: func(protocol.Event) {},
	}
	app := project.Apps[0]
	app.Version = "0.0.0-bench"
	return command{name: "harmony-build, inside", work: func(ctx context.Context) error {
		builder, err := daemonless.New(&build.Flags{})(ctx, env)
		if err != nil {
			return err
		}
		_, err = builder.BuildImage(ctx, app)
		return err
	}}, nil
}
