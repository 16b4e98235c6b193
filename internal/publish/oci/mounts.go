package oci

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mounts is a folder that remembers in which repository a blob is, so that another
// one of the same registry need not get it again; there is no memory when empty. Wrong
// memories cost a request.
type mounts string

// find is the path of another repository that has the blob, or "".
func (m mounts) find(digest v1.Hash, repository name.Repository) string {
	text, err := os.ReadFile(m.file(digest, repository))
	path := string(text)
	if err == nil {
		_, err = name.NewRepository(repository.RegistryStr() + "/" + path)
	}
	if m == "" || err != nil || path == repository.RepositoryStr() {
		return ""
	}
	return path
}

// add remembers that the repository has the blob.
func (m mounts) add(digest v1.Hash, repository name.Repository) {
	file := m.file(digest, repository)
	if held, err := os.ReadFile(file); m == "" || err == nil && string(held) == repository.RepositoryStr() {
		return
	}
	// A memory that cannot be written, or not to its end, only costs time.
	_ = errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(repository.RepositoryStr()), 0o600))
}

func (m mounts) file(digest v1.Hash, repository name.Repository) string {
	host := strings.NewReplacer(":", "_", "[", "_", "]", "_").Replace(repository.RegistryStr())
	return filepath.Join(string(m), host, digest.Hex)
}
