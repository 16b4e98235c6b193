package oci

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mounts remembers in which repository a blob is, so that another one of the
// same registry need not get it again. Wrong memories cost a request.
type mounts struct {
	// dir keeps the memory between runs; none when empty.
	dir   string
	mu    sync.Mutex
	known map[v1.Hash]string
}

// find is the path of another repository that has the blob, or "".
func (m *mounts) find(digest v1.Hash, repository name.Repository) string {
	m.mu.Lock()
	path := m.known[digest]
	m.mu.Unlock()
	if path == "" && m.dir != "" {
		text, err := os.ReadFile(m.file(digest, repository))
		if err != nil {
			return ""
		}
		path = string(text)
	}
	if _, err := name.NewRepository(repository.RegistryStr() + "/" + path); err != nil || path == repository.RepositoryStr() {
		return ""
	}
	return path
}

// add remembers that the repository has the blob.
func (m *mounts) add(digest v1.Hash, repository name.Repository) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[v1.Hash]string{}
	}
	if m.known[digest] == repository.RepositoryStr() {
		return
	}
	m.known[digest] = repository.RepositoryStr()
	if m.dir == "" {
		return
	}
	file := m.file(digest, repository)
	if held, err := os.ReadFile(file); err == nil && string(held) == repository.RepositoryStr() {
		return
	}
	// A memory that cannot be written, or not to its end, only costs time.
	_ = errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(repository.RepositoryStr()), 0o600))
}

func (m *mounts) file(digest v1.Hash, repository name.Repository) string {
	host := strings.NewReplacer(":", "_", "[", "_", "]", "_").Replace(repository.RegistryStr())
	return filepath.Join(m.dir, host, digest.Hex)
}
