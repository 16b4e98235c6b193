package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fetched is the last verified copy of an index.
type fetched struct {
	URL   string    `json:"url"`
	At    time.Time `json:"at"`
	Files tree      `json:"files"`
}

func (s *Store) copyFile(name string) string {
	return filepath.Join(s.dirs.cache, "plugin-index", name+".json")
}

// copyOf reads the copy of an index; false when it cannot be read or is of another
// address.
func (s *Store) copyOf(index Index) (fetched, bool) {
	var c fetched
	data, err := readFile(s.copyFile(index.Name), 2*maxTree)
	return c, err == nil && json.Unmarshal(data, &c) == nil && c.URL == index.URL
}

func (s *Store) keep(index Index, files tree) error {
	data, err := json.Marshal(fetched{index.URL, time.Now().UTC(), files})
	if err != nil {
		return err
	}
	return atomicfile.Write(s.copyFile(index.Name), data, 0o600)
}

// memory has the newest versions that an index has offered so far.
type memory struct {
	URL  string            `json:"url"`
	Key  string            `json:"key,omitempty"`
	Seen map[string]string `json:"seen"`
}

func (s *Store) memoryFile(name string) string {
	return filepath.Join(s.dirs.state, "plugin-index", name+".json")
}

// recall reads what an index has offered so far. It is the same index when its
// address or its key is the same, however the address is written.
func (s *Store) recall(index Index) (memory, error) {
	path := s.memoryFile(index.Name)
	var m memory
	data, err := readFile(path, maxTree)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return m, err
	case json.Unmarshal(data, &m) != nil:
		return m, fmt.Errorf("%s, the record of the versions that index %s has offered, cannot be read: remove it to start over", path, index.Name)
	}
	if same := canonical(m.URL) == canonical(index.URL) || m.Key != "" && m.Key == index.Key; !same || m.Seen == nil {
		m.Seen = map[string]string{}
	}
	m.URL, m.Key = index.URL, index.Key
	return m, nil
}

// remember compares the versions that an index offers with those it offered before,
// and fails when one is older: somebody may be replaying an old index, to get a
// version with known vulnerabilities installed.
func (s *Store) remember(ctx context.Context, index Index, offered catalog) error {
	lock, err := atomicfile.Lock(ctx, filepath.Join(s.dirs.state, ".plugin-index.lock"), nil)
	if err != nil && !readOnly(err) { // if read-only, the record may still be readable
		return fmt.Errorf("remember the versions of index %s: %w", index.Name, err)
	}
	defer lock.Close()
	m, err := s.recall(index)
	if err != nil {
		return err
	}
	before := maps.Clone(m.Seen)
	if err := s.compare(index, offered, m.Seen); err != nil || maps.Equal(before, m.Seen) {
		return err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	err = atomicfile.Write(s.memoryFile(index.Name), data, 0o600)
	if readOnly(err) {
		s.warn("the versions of index %s cannot be remembered: %v", index.Name, err)
		return nil
	}
	return err
}

// compare notes the newest versions in seen. An older one than before is refused,
// and with it the index, unless a downgrade of other plugins was asked for.
func (s *Store) compare(index Index, offered catalog, seen map[string]string) error {
	for _, name := range offered.names() {
		newest, err := offered.newest(name)
		if err != nil {
			continue // reported when the plugin is asked for
		}
		before, err := semver.StrictNewVersion(seen[name])
		if older := err == nil && newest.version.LessThan(before); older && !s.AllowDowngrade && !slices.Contains(s.Downgrade, name) {
			err := (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("index %s is refused: it offers %s %s as the newest, and has offered %s before: somebody may be replaying an old index",
				index.Name, name, newest.version, before)}).
				WithHint("if its owner has withdrawn a version: harmony plugin index update %s --allow-downgrade", index.Name)
			if len(s.Downgrade) == 0 {
				return err
			}
			offered.refuse(name, err)
			continue
		}
		seen[name] = newest.version.String()
	}
	return nil
}

// readOnly reports that a folder, such as a home in CI, cannot be written.
func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
