package index

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

// entry is one version of a plugin, or why its manifest cannot be used.
type entry struct {
	file     string
	manifest Manifest
	version  *semver.Version
	err      error
}

// catalog has the manifests of an index by the names of their plugins, the newest
// version first.
type catalog map[string][]entry

// read makes the catalog of an index's files. It fails when a signature does; an
// unreadable manifest affects only its own version.
func read(index Index, files tree) (catalog, error) {
	key, err := index.signer()
	if err != nil {
		return nil, err
	}
	if err := files.check(); err != nil {
		return nil, fmt.Errorf("index %s: %w", index.Name, err)
	}
	if err := key.check(files); err != nil {
		return nil, (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("index %s is refused: %w", index.Name, err)}).
			WithHint("report it to the index's owner; if the key has changed, remove the index and add it with the new key")
	}
	source, err := parseLocation(index.URL)
	if err != nil {
		return nil, err
	}
	all := catalog{}
	for _, file := range files.manifests() {
		name, _, _ := manifestName(file)
		e := entry{file: file}
		e.manifest, e.err = Parse(index.Name+"/"+file, files[file])
		if e.err == nil {
			e.err = e.fits(source)
		}
		if e.err == nil {
			e.version, e.err = semver.StrictNewVersion(e.manifest.Version)
		}
		all[name] = append(all[name], e)
	}
	for _, entries := range all {
		order(entries)
	}
	return all, nil
}

// fits is nil when the manifest matches its file's name, and names no address that
// its index must not name.
func (e entry) fits(source location) error {
	name, version, _ := manifestName(e.file)
	m := e.manifest
	if m.Name != name || version != "" && m.Version != version {
		return protocol.Invalid("%s: contains the manifest of %s, which does not match the file name", e.file, m)
	}
	for _, p := range m.Platforms {
		u, err := parseURI(p.URI)
		switch {
		case err != nil: // found by Validate
		case !source.local && u.Scheme != "https" && u.Scheme != "oci":
			return protocol.Invalid("%s: %s/%s: a remote index cannot name a %s:// address", e.file, p.OS, p.Arch, u.Scheme)
		case !source.local && !source.here && redirect.IsHere(u.Hostname()):
			return protocol.Invalid("%s: %s/%s: a remote index cannot name an address of this machine, %s", e.file, p.OS, p.Arch, u.Host)
		}
	}
	return nil
}

// order sorts the newest version first: releases, then pre-releases, then manifests
// that cannot be read.
func order(entries []entry) {
	rank := func(e entry) int {
		switch {
		case e.err != nil:
			return 0
		case e.version.Prerelease() != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		if c := cmp.Compare(rank(b), rank(a)); c != 0 || a.err != nil {
			return c
		}
		return b.version.Compare(a.version)
	})
	for i := 1; i < len(entries); i++ {
		e, before := &entries[i], entries[i-1]
		if e.err == nil && e.version.Equal(before.version) {
			e.err = protocol.Invalid("%s: %s is a manifest of version %s too", e.file, before.file, before.manifest.Version)
		}
	}
}

// newest is the version of a plugin that the index offers when none is named. It
// fails when NAME.yaml cannot be read: falling back to an older version would be a
// silent downgrade.
func (c catalog) newest(name string) (entry, error) {
	for _, e := range c[name] {
		if e.err != nil && e.file == name+".yaml" {
			return entry{}, e.err
		}
	}
	return c[name][0], c[name][0].err
}

// refuse marks all versions of a plugin as unusable.
func (c catalog) refuse(name string, err error) {
	for i := range c[name] {
		c[name][i].err = err
	}
}

// names lists the plugins, sorted.
func (c catalog) names() []string { return slices.Sorted(maps.Keys(c)) }

// broken lists why manifests cannot be used.
func (c catalog) broken() []error {
	var all []error
	for _, name := range c.names() {
		for _, e := range c[name] {
			if e.err != nil {
				all = append(all, e.err)
			}
		}
	}
	return all
}
