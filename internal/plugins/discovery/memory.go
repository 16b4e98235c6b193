package discovery

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// File identifies a file and its content, as far as that can be told without
// reading it.
type File struct {
	Path     string    `json:"path"`
	Inode    uint64    `json:"inode"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// Identify looks at a file; Path is without links.
func Identify(path string) (File, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return File{}, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return File{}, err
	}
	inode, err := inodeOf(info)
	if err != nil {
		return File{}, err
	}
	return File{Path: target, Inode: inode, Size: info.Size(), Modified: info.ModTime()}, nil
}

// same reports whether nothing tells that the file is another now.
func (f File) same(other File) bool {
	return f.Path == other.Path && f.Inode == other.Inode && f.Size == other.Size && f.Modified.Equal(other.Modified)
}

// Memory keeps what was found out about files.
type Memory struct {
	// Folder holds it; nothing is kept when it is empty.
	Folder string
}

// remembered is what the folder holds.
type remembered struct {
	File
	Document json.RawMessage `json:"document"`
}

func (m Memory) path(f File) string {
	return filepath.Join(m.Folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(f.Path))))
}

// Recall returns what is kept of a file that is still the same.
func (m Memory) Recall(f File) (json.RawMessage, bool) {
	if m.Folder == "" {
		return nil, false
	}
	data, err := os.ReadFile(m.path(f))
	if err != nil {
		return nil, false
	}
	var kept remembered
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, false
	}
	return kept.Document, kept.same(f)
}

// Keep keeps what was found out about a file. A folder that cannot be written,
// as in a read-only home, only means that it is found out again.
func (m Memory) Keep(f File, document json.RawMessage) {
	data, err := json.Marshal(remembered{f, document})
	if m.Folder == "" || err != nil || os.MkdirAll(m.Folder, 0o700) != nil {
		return
	}
	file, err := os.CreateTemp(m.Folder, "answer-*")
	if err != nil {
		return
	}
	_, err = file.Write(data)
	if errors.Join(err, file.Close()) != nil || os.Rename(file.Name(), m.path(f)) != nil {
		os.Remove(file.Name())
	}
}
