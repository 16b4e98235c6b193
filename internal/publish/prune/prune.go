// Package prune finds what development leaves in a registry, images and charts
// of old development versions, and removes what nothing uses.
//
// A tag is removed only if it is of a development version, or the input tag of
// nothing else, and what has no tag only when that is not to come any more; both
// if no Helm release, Argo CD Application, Flux object or pod
// of the clusters names its digest or the tag itself. A cluster that cannot be
// asked is an error: then nothing is removed.
package prune

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Options say what may go.
type Options struct {
	// Keep is how many of the newest development versions stay in each
	// repository.
	Keep int
	// OlderThan is the age from which on others may go; any age when zero. What
	// has no known age stays, unless OlderThan is zero.
	OlderThan time.Duration
	// Now is the time that ages are counted from.
	Now time.Time
}

// Entry is one tag, or an artifact without any, and what is to become of it.
type Entry struct {
	// Repository is registry/path, Tag and Digest what it holds. Without a Tag it
	// is an artifact that none names.
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest"`
	// Created is when the version was made, where that is known.
	Created *time.Time `json:"created,omitempty"`
	// Remove is true for what goes, and Reason says why it goes or stays.
	Remove bool   `json:"remove"`
	Reason string `json:"reason"`

	version  *semver.Version // of a development version
	parts    []string        // digests of an index's manifests
	manifest []string        // parts that no other entry needs, once decided
}

// Repository is one to look through.
type Repository struct {
	// Name is registry/path.
	Name string
	// Folder is the project, whose git history shows how old a version is.
	Folder string
}

const inputPrefix = "input-"

// settled is the age from which on what has no tag gets none any more: a push
// sets the tag last.
const settled = 24 * time.Hour

func (e Entry) name() string {
	if e.Tag == "" {
		return e.Repository + "@" + e.Digest
	}
	return e.Repository + ":" + e.Tag
}

// develops is the development version of a tag, or nil.
func develops(tag string) *semver.Version {
	v, err := semver.StrictNewVersion(strings.ReplaceAll(tag, "_", "+"))
	if err != nil || !version.IsDevelopment(*v) {
		return nil
	}
	return v
}

// Plan looks through the repositories and decides. The entries are those that a
// prune is about, development versions and input tags; releases and tags of
// others are not among them.
func Plan(ctx context.Context, registry *Registry, used *Uses, repositories []Repository, o Options) ([]Entry, error) {
	var all []Entry
	for _, r := range repositories {
		entries, others, err := registry.entries(ctx, r)
		if err != nil {
			return nil, err
		}
		decide(entries, others, used, o)
		all = append(all, entries...)
	}
	return all, nil
}

// decide fills in Remove and Reason. others are the digests that tags of other
// kinds hold.
func decide(entries []Entry, others map[string]string, used *Uses, o Options) {
	slices.SortFunc(entries, newestFirst)
	goes, stays := map[string]string{}, map[string]string{}
	for i := range entries {
		e := &entries[i]
		if tag, ok := goes[e.Digest]; ok && e.version == nil {
			e.Remove, e.Reason = true, "the same image as "+tag
			continue // an input tag goes with its version
		}
		e.Remove, e.Reason = judge(*e, i+1, others, used, o)
		if e.Remove {
			goes[e.Digest] = e.Tag
			continue
		}
		for _, digest := range append([]string{e.Digest}, e.parts...) {
			stays[digest] = e.Tag
		}
	}
	// A digest goes as a whole: what one tag keeps stays for all of them.
	for i := range entries {
		e := &entries[i]
		if tag, ok := stays[e.Digest]; ok && e.Remove {
			e.Remove, e.Reason = false, "the same image as "+tag
			if tag == "" {
				e.Reason = "a part of what stays"
			}
		}
	}
	spare(entries)
}

// newestFirst sorts development versions before input tags.
func newestFirst(a, b Entry) int {
	switch {
	case a.version != nil && b.version != nil:
		return cmp.Or(b.version.Compare(a.version), strings.Compare(a.Tag, b.Tag))
	case a.version != nil:
		return -1
	case b.version != nil:
		return 1
	}
	return cmp.Or(strings.Compare(a.Tag, b.Tag), strings.Compare(a.Digest, b.Digest))
}

func judge(e Entry, number int, others map[string]string, used *Uses, o Options) (remove bool, reason string) {
	if tag, ok := others[e.Digest]; ok {
		return false, "the same image as " + tag
	}
	if by := used.by(e); by != "" {
		return false, "used by " + by
	}
	if e.version != nil && number <= o.Keep {
		return false, "among the newest"
	}
	age := o.OlderThan
	if e.Tag == "" {
		age = max(age, settled)
	}
	if age > 0 {
		if e.Created == nil {
			return false, "its age is not known"
		}
		if o.Now.Sub(*e.Created) < age {
			return false, "not old enough"
		}
	}
	switch {
	case e.Tag == "":
		return true, "no tag names it"
	case e.version == nil:
		return true, "no version has this image"
	}
	return true, "an old development version that nothing uses"
}

// spare leaves out the parts of an index that an entry which stays has as well.
func spare(entries []Entry) {
	needed := map[string]bool{}
	for _, e := range entries {
		if !e.Remove {
			needed[e.Digest] = true
			for _, part := range e.parts {
				needed[part] = true
			}
		}
	}
	for i, e := range entries {
		for _, part := range e.parts {
			if e.Remove && !needed[part] {
				entries[i].manifest = append(entries[i].manifest, part)
				needed[part] = true // deleted once
			}
		}
	}
}

// Remove deletes what the plan says, an index before its parts. It returns how
// many entries went; what went stays gone when a later one fails.
//
// The plan may be old: what another tag has by now stays, and its entries say so.
// The tags go first, so that nobody finds the image while it is deleted.
func Remove(ctx context.Context, registry *Registry, entries []Entry) (removed int, err error) {
	same, going := map[string][]*Entry{}, map[string]bool{} // entries of one digest, and all names
	for i := range entries {
		if e := &entries[i]; e.Remove {
			same[e.Repository+"@"+e.Digest] = append(same[e.Repository+"@"+e.Digest], e)
			going[e.name()] = true
		}
	}
	for i := range entries {
		name := entries[i].Repository + "@" + entries[i].Digest
		group := same[name]
		if len(group) == 0 {
			continue
		}
		delete(same, name)
		by, err := registry.remove(ctx, group, going)
		if err != nil {
			return removed, (&protocol.Error{Code: protocol.ExitCode(err), Message: "remove " + group[0].name(), Err: err}).
				WithHint("the registry has to allow deletion: REGISTRY_STORAGE_DELETE_ENABLED=true for distribution, the permission to delete for Harbor")
		}
		if by == "" {
			removed += len(group)
			continue
		}
		for _, e := range group {
			e.Remove, e.Reason = false, "meanwhile also tagged "+by
		}
	}
	return removed, nil
}
