package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plugins are the commands that a plugin index offers: all but the dispatcher
// and what it execs by its folder.
func (r release) plugins() []string {
	return slices.DeleteFunc(slices.Clone(r.commands), func(command string) bool {
		return command == "harmony" || command == "harmony-plugin"
	})
}

// path is that of a plugin's manifest in the repository.
func (r release) path(command string) string {
	return filepath.Join(r.root, r.index, strings.TrimPrefix(command, "harmony-")+".yaml")
}

// manifest reads one of the repository's.
func (r release) manifest(command string) (index.Manifest, []byte, error) {
	text, err := os.ReadFile(r.path(command))
	if errors.Is(err, fs.ErrNotExist) {
		return index.Manifest{}, nil, fmt.Errorf("there is no manifest of %s: write %s", command, r.path(command))
	}
	if err != nil {
		return index.Manifest{}, nil, err
	}
	m, err := index.Parse(r.path(command), text)
	return m, text, err
}

// indexVersion is the version that the manifests in the repository describe.
func (r release) indexVersion() (string, error) {
	versions := map[string]bool{}
	for _, command := range r.plugins() {
		m, _, err := r.manifest(command)
		if err != nil {
			return "", err
		}
		versions[m.Version] = true
	}
	if len(versions) != 1 {
		return "", protocol.Invalid("the manifests in %s are of %d versions (%s), want one", r.index, len(versions), strings.Join(sortedKeys(versions), ", "))
	}
	return sortedKeys(versions)[0], nil
}

// check compares the manifests with their form, and with what was built.
func (r release) check(ctx context.Context) error {
	if err := index.Check(filepath.Join(r.root, r.index)); err != nil {
		return err
	}
	var wrong []error
	for _, command := range r.plugins() {
		wrong = append(wrong, r.checkForm(command))
	}
	wrong = append(wrong, r.checkOthers())
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	return r.checkHashes(ctx)
}

// checkForm requires a manifest to have the form in which build writes it.
func (r release) checkForm(command string) error {
	m, text, err := r.manifest(command)
	if err != nil {
		return err
	}
	canonical, err := config.Encode(m)
	if err != nil {
		return err
	}
	if !bytes.Equal(canonical, text) {
		return fmt.Errorf("%s is not in the form, with the fields in the order, that 'make plugin-index' writes", r.path(command))
	}
	var have, want []string
	for _, p := range m.Platforms {
		have = append(have, p.OS+"/"+p.Arch+" "+p.URI)
	}
	for _, p := range r.platforms {
		want = append(want, p.os+"/"+p.arch+" "+r.uri(command, p))
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("%s: the platforms are\n  %s\nwant, in this order,\n  %s", r.path(command), strings.Join(have, "\n  "), strings.Join(want, "\n  "))
	}
	return nil
}

// checkOthers refuses manifests of other plugins than those of the suite.
func (r release) checkOthers() error {
	files, err := filepath.Glob(filepath.Join(r.root, r.index, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if command := "harmony-" + strings.TrimSuffix(filepath.Base(file), ".yaml"); !slices.Contains(r.plugins(), command) {
			return fmt.Errorf("%s: %s is not a plugin of the suite", file, command)
		}
	}
	return nil
}

// checkHashes compares the manifests with the archives. Those of a version that was
// not built here are somebody else's, and only told of; a commit that is tagged
// as the version has to be what was built.
func (r release) checkHashes(ctx context.Context) error {
	_, err := os.Stat(r.folder())
	if errors.Is(err, fs.ErrNotExist) {
		if !r.tagged(ctx) {
			fmt.Fprintf(os.Stderr, "plugin-index: valid and sorted; 'make dist VERSION=%s' builds what its hashes are held against\n", r.version)
			return nil
		}
		err = r.build(ctx)
	}
	if err != nil {
		return err
	}
	var wrong []error
	for _, command := range r.plugins() {
		wrong = append(wrong, r.checkArchives(command))
	}
	return errors.Join(wrong...)
}

// tagged reports whether the current commit is that of the version's tag.
func (r release) tagged(ctx context.Context) bool {
	out, err := process.Output(ctx, process.Command{Args: []string{"git", "tag", "--points-at", "HEAD"}, Dir: r.root})
	return err == nil && slices.Contains(strings.Fields(string(out)), "v"+r.version)
}

func (r release) checkArchives(command string) error {
	m, _, err := r.manifest(command)
	if err != nil {
		return err
	}
	var wrong []error
	for i, p := range r.platforms {
		have, err := measure(filepath.Join(r.folder(), r.file(command, p)))
		if err != nil {
			return err
		}
		if said := m.Platforms[i]; said.SHA256 != have.sha256 || said.Size != have.size {
			wrong = append(wrong, fmt.Errorf("%s: %s/%s is %s of %d bytes, 'make dist' has built %s of %d: run 'make plugin-index'",
				r.path(command), p.os, p.arch, said.SHA256, said.Size, have.sha256, have.size))
		}
	}
	return errors.Join(wrong...)
}
