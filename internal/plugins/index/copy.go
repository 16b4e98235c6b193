package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fetched is the copy of an index that was read last.
type fetched struct {
	URL   string    `json:"url"`
	At    time.Time `json:"at"`
	Files tree      `json:"files"`
}

func (s *Store) copyFile(name string) string {
	return filepath.Join(s.dirs.Cache, "plugin-index", name+".json")
}

// copyOf reads the copy of an index. One that cannot be read, or that is of
// another address, is none.
func (s *Store) copyOf(index Index) (fetched, bool) {
	var c fetched
	ok, err := readJSON(s.copyFile(index.Name), 2*maxTree, &c)
	return c, ok && err == nil && c.URL == index.URL
}

func (s *Store) keep(index Index, files tree) error {
	data, err := json.Marshal(fetched{index.URL, time.Now().UTC(), files})
	if err != nil {
		return err
	}
	return atomicfile.Write(s.copyFile(index.Name), data, 0o600)
}

// memory holds the newest versions that an index has offered so far.
type memory struct {
	URL  string            `json:"url"`
	Key  string            `json:"key,omitempty"`
	Seen map[string]string `json:"seen"`
}

func (s *Store) memoryFile(name string) string {
	return filepath.Join(s.dirs.State, "plugin-index", name+".json")
}

// recall reads what an index has offered so far. It is the same index when its
// address or its key is the same, however the address is written.
func (s *Store) recall(index Index) (memory, error) {
	path := s.memoryFile(index.Name)
	var m memory
	readable, err := readJSON(path, maxTree, &m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return m, err
	case !readable:
		return m, fmt.Errorf("%s, which holds the versions that index %s has offered, cannot be read: remove it to start over", path, index.Name)
	}
	if same := canonical(m.URL) == canonical(index.URL) || m.Key != "" && m.Key == index.Key; !same || m.Seen == nil {
		m.Seen = map[string]string{}
	}
	m.URL, m.Key = index.URL, index.Key
	return m, nil
}

// remember compares what an index offers now with what it has offered before, and
// fails when something is older: somebody may be replaying an old index, to have a
// version installed whose faults are known.
func (s *Store) remember(index Index, offered catalog) error {
	unlock, err := lock(s.dirs.State, ".plugin-index.lock")
	switch {
	case readOnly(err): // what was remembered may still be read
		unlock = func() {}
	case err != nil:
		return fmt.Errorf("remember what index %s offers: %w", index.Name, err)
	}
	defer unlock()
	m, err := s.recall(index)
	if err != nil {
		return err
	}
	changed := false
	for _, name := range offered.names() {
		newest, err := offered.newest(name)
		if err != nil {
			continue // told where it is asked for
		}
		before, err := semver.StrictNewVersion(m.Seen[name])
		if older := err == nil && newest.version.LessThan(before); older && !s.AllowDowngrade && !slices.Contains(s.Downgrade, name) {
			err := replayed(index, newest, before)
			if len(s.Downgrade) == 0 {
				return err
			}
			offered.refuse(name, err)
			continue
		}
		changed = changed || m.Seen[name] != newest.version.String()
		m.Seen[name] = newest.version.String()
	}
	if !changed {
		return nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	err = atomicfile.Write(s.memoryFile(index.Name), data, 0o600)
	if readOnly(err) {
		s.warn("the versions that index %s offers cannot be remembered: %v", index.Name, err)
		return nil
	}
	return err
}

// readOnly reports that a folder, such as a home in CI, cannot be written.
func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func replayed(index Index, newest entry, before *semver.Version) error {
	return (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("index %s is refused: it offers %s %s as the newest, and has offered %s before: it may be an old index that somebody replays",
		index.Name, newest.manifest.Name, newest.version, before)}).
		WithHint("if its owner has withdrawn a version: harmony plugin index update %s --allow-downgrade", index.Name)
}
