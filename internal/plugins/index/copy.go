package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/Masterminds/semver/v3"

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
	return replace(s.copyFile(index.Name), data)
}

// memory holds the newest versions that an index has offered so far.
type memory struct {
	URL  string            `json:"url"`
	Seen map[string]string `json:"seen"`
}

func (s *Store) memoryFile(name string) string {
	return filepath.Join(s.dirs.State, "plugin-index", name+".json")
}

// remember holds what an index offers now against what it has offered before,
// and fails when something is older: somebody may be replaying an old index, to
// have a version installed whose faults are known.
func (s *Store) remember(index Index, offered catalog) error {
	unlock, err := lock(s.dirs.State, ".plugin-index.lock")
	if err != nil {
		return fmt.Errorf("remember what index %s offers: %w", index.Name, err)
	}
	defer unlock()
	path := s.memoryFile(index.Name)
	var m memory
	readable, err := readJSON(path, maxTree, &m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !readable:
		return fmt.Errorf("%s, which holds the versions that index %s has offered, cannot be read: remove it to begin anew", path, index.Name)
	}
	if m.URL != index.URL || m.Seen == nil {
		m = memory{URL: index.URL, Seen: map[string]string{}}
	}
	for _, name := range offered.names() {
		newest, err := offered.newest(name)
		if err != nil {
			continue // told where it is asked for
		}
		before, err := semver.StrictNewVersion(m.Seen[name])
		if err == nil && newest.version.LessThan(before) && !s.AllowDowngrade {
			return (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("index %s is refused: it offers %s %s as the newest, and has offered %s before: it may be an old index that somebody replays",
				index.Name, name, newest.version, before)}).WithHint("when its owner has withdrawn a version, --allow-downgrade accepts that")
		}
		m.Seen[name] = newest.version.String()
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return replace(path, data)
}
