package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Store has the configured indexes and their fetched copies.
type Store struct {
	// Only is the name or the URL of the one index to search; all configured ones
	// when empty.
	Only string
	// AllowDowngrade accepts an index that offers older versions than before.
	AllowDowngrade bool
	// Downgrade accepts older versions of these plugins alone; other plugins that an
	// index offers in an older version than before are not used.
	Downgrade []string
	// MaxAge is how old a copy may be before [Store.Search] and [Store.Find] fetch
	// it again; a day when zero. A missing copy is always fetched.
	MaxAge time.Duration
	// Offline makes [Store.Search] and [Store.Find] use the existing copies, however
	// old, and fetch none.
	Offline bool
	// Warn gets warnings: an index that cannot be reached now, a manifest that
	// cannot be read. It may be nil.
	Warn func(string)
	// Transport carries requests by https; http.DefaultTransport when nil.
	Transport http.RoundTripper

	dirs     dirs
	homeless error // why there are no dirs
}

// Open returns the indexes of the user with that environment. It reads nothing yet;
// a missing HOME is an error when the indexes are first used.
func Open(getenv func(string) string) *Store {
	dirs, err := dirsOf(getenv)
	return &Store{dirs: dirs, homeless: err}
}

func (s *Store) warn(format string, args ...any) {
	if s.Warn != nil {
		s.Warn(fmt.Sprintf(format, args...))
	}
}

// Update fetches the indexes of these names, or all. Only a verified index replaces
// its copy; the error lists every index that failed.
func (s *Store) Update(ctx context.Context, names ...string) error {
	indexes, err := s.selected()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		all := indexes
		indexes = nil
		for _, name := range names {
			index, err := named(name, all)
			if err != nil {
				return err
			}
			indexes = append(indexes, index)
		}
	}
	var failed []error
	for _, index := range indexes {
		offered, err := s.fetch(ctx, index)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		s.warnBroken(offered)
	}
	return together(failed)
}

func (s *Store) warnBroken(offered catalog) {
	for _, err := range offered.broken() {
		s.warn("%v", err)
	}
}

// together joins errors into one with the worst exit status; a single error keeps
// its hint.
func together(failed []error) error {
	if len(failed) < 2 {
		return errors.Join(failed...)
	}
	var codes []int
	for _, err := range failed {
		codes = append(codes, protocol.ExitCode(err))
	}
	return &protocol.Error{Code: protocol.WorstCode(codes...), Err: errors.Join(failed...)}
}

// fetch reads an index from its source, verifies it, and keeps the copy.
func (s *Store) fetch(ctx context.Context, index Index) (catalog, error) {
	source, err := parseLocation(index.URL)
	if err != nil {
		return nil, err
	}
	key, err := index.signer()
	if err != nil {
		return nil, err
	}
	old, _ := s.copyOf(index)
	files, err := source.fetch(ctx, fetching{s, key.suffix, old.Files})
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", index.Name, err)
	}
	offered, err := read(index, files)
	if err != nil {
		return nil, err
	}
	if err := s.remember(ctx, index, offered); err != nil {
		return nil, err
	}
	if source.folder {
		return offered, nil
	}
	if err := s.keep(index, files); err != nil {
		s.warn("index %s will be fetched again next time: its copy cannot be kept: %v", index.Name, err)
	}
	return offered, nil
}

// catalog is the offer of an index, from its copy if that is not too old. A copy that
// cannot be refreshed for a passing reason is used as it is: it was verified.
func (s *Store) catalog(ctx context.Context, index Index) (catalog, error) {
	source, err := parseLocation(index.URL)
	if err != nil {
		return nil, err
	}
	kept, ok := s.copyOf(index)
	switch {
	case source.folder, !ok && !s.Offline:
		return s.fetch(ctx, index)
	case s.Offline: // without a copy, of no files
		return read(index, kept.Files)
	}
	if age := time.Since(kept.At); age < 0 || age > cmp.Or(s.MaxAge, 24*time.Hour) {
		offered, err := s.fetch(ctx, index)
		if protocol.ExitCode(err) != protocol.ExitRetryable {
			return offered, err
		}
		s.warn("using index %s as of %s: %v", index.Name, kept.At.Local().Format(time.DateTime), err)
	}
	offered, err := read(index, kept.Files)
	if err != nil {
		return nil, err
	}
	return offered, s.remember(ctx, index, offered)
}

// Search lists the newest version of every plugin whose name or description
// contains all the words of text, by name; all plugins when it is empty. The results
// are complete for the indexes that could be read, even when another fails.
func (s *Store) Search(ctx context.Context, text string) ([]Found, error) {
	indexes, err := s.selected()
	if err != nil {
		return nil, err
	}
	var found []Found
	var failed []error
	words := strings.Fields(strings.ToLower(text))
	for _, index := range indexes {
		offered, err := s.catalog(ctx, index)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, name := range offered.names() {
			if e, err := offered.newest(name); err == nil && e.manifest.mentions(words) {
				found = append(found, Found{index, e.manifest})
			}
		}
		s.warnBroken(offered)
	}
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(a.Manifest.Name, b.Manifest.Name) })
	return found, together(failed)
}

// mentions reports whether all words are in the manifest's texts.
func (m Manifest) mentions(words []string) bool {
	text := strings.ToLower(strings.Join(append([]string{m.Name, m.ShortDescription, m.Description, m.Stage}, m.Apps...), "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// Find returns a plugin by its name, or as INDEX/NAME; its newest version when
// version is empty. A plugin that several indexes offer must be named with its
// index. Not found is an error of status protocol.ExitUnsupported.
func (s *Store) Find(ctx context.Context, name, version string) (Found, error) {
	indexes, err := s.selected()
	if err != nil {
		return Found{}, err
	}
	if prefix, rest, qualified := strings.Cut(name, "/"); qualified {
		index, err := named(prefix, indexes)
		if err != nil {
			return Found{}, err
		}
		indexes, name = []Index{index}, rest
	}
	if !protocol.ValidName(name) {
		return Found{}, protocol.Invalid("%q is not a plugin's name: lower-case letters, digits and dashes, at most 53", name)
	}
	if version != "" && !artifact.ValidVersion(version) {
		return Found{}, protocol.Invalid("%q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", version)
	}
	return s.findIn(ctx, indexes, name, version)
}

func (s *Store) findIn(ctx context.Context, indexes []Index, name, version string) (Found, error) {
	var offers []Found
	var known, from []string
	for _, index := range indexes {
		offered, err := s.catalog(ctx, index)
		if err != nil {
			if len(indexes) > 1 && protocol.HintOf(err) == "" {
				err = &protocol.Error{Err: err, Hint: "to search one index only, name it: INDEX/" + name}
			}
			return Found{}, err
		}
		known = append(known, offered.names()...)
		if len(offered[name]) == 0 {
			continue
		}
		from = append(from, index.Name+"/"+name)
		m, err := offered.pick(name, version)
		if err != nil {
			return Found{}, fmt.Errorf("index %s: %w", index.Name, err)
		}
		offers = append(offers, Found{index, m})
	}
	switch len(offers) {
	case 1:
		return offers[0], nil
	case 0:
		return Found{}, protocol.Unsupported("no index has a plugin %s", name).
			WithHint("%s", nearest.Hint(name, known, "list all plugins with 'harmony plugin search', or fetch new ones with 'harmony plugin index update'"))
	}
	return Found{}, protocol.Invalid("plugin %s is in several indexes", name).WithHint("name one: %s", strings.Join(from, " or "))
}

// pick is one version of a plugin, the newest when none is named.
func (c catalog) pick(name, version string) (Manifest, error) {
	if version == "" {
		e, err := c.newest(name)
		return e.manifest, err
	}
	var known []string
	var broken error
	for _, e := range c[name] {
		switch {
		case e.err != nil:
			broken = e.err
		case e.manifest.Version == version:
			return e.manifest, nil
		default:
			known = append(known, e.manifest.Version)
		}
	}
	if broken != nil {
		return Manifest{}, broken
	}
	return Manifest{}, protocol.Unsupported("there is no version %s of plugin %s", version, name).WithHint("available: %s", strings.Join(known, ", "))
}
