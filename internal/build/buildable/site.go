package buildable

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// The names of the site in a context; those in the image are in siteIndex.
const (
	siteFolder = "site"
	filesName  = "files" // in siteFolder
	zippedName = "gzip"  // in siteFolder
	indexName  = "site.json"
	indexPage  = "index.html"
)

// Files of smallest to largest bytes are compressed.
const (
	smallest = 1024
	largest  = 64 << 20
)

// siteIndex and siteEntry are what the server reads; see its source.
type siteIndex struct {
	Folder   string               `json:"folder"`
	Zipped   string               `json:"zipped"`
	Port     int                  `json:"port"`
	Modified int64                `json:"modified"`
	Fallback string               `json:"fallback"`
	NotFound string               `json:"notFound"`
	Files    map[string]siteEntry `json:"files"`
}

type siteEntry struct {
	Type      string `json:"type"`
	Tag       string `json:"tag"`
	Zipped    bool   `json:"zipped,omitempty"`
	Immutable bool   `json:"immutable,omitempty"`
}

// writeSite writes the files, their compressed variants and the index.
func (s *static) writeSite(ctx context.Context, dir string) error {
	index := siteIndex{
		Folder: "/site/" + filesName, Zipped: "/site/" + zippedName, Port: s.settings.Port,
		Modified: s.options.Created.Unix(), NotFound: s.settings.NotFound, Files: map[string]siteEntry{},
	}
	if s.settings.SPA {
		index.Fallback = indexPage
	}
	if index.NotFound == "" && s.has("404.html") {
		index.NotFound = "404.html"
	}
	for _, f := range s.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry, err := s.writeFile(f, filepath.Join(dir, siteFolder))
		if err != nil {
			return err
		}
		index.Files[f.name] = entry
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, indexName), text)
}

// writeFile writes one file, and its compressed variant where that is smaller.
func (s *static) writeFile(f siteFile, dir string) (siteEntry, error) {
	name := filepath.FromSlash(f.name)
	entry := siteEntry{Type: contentType(f.name), Tag: f.digest[:32], Immutable: s.immutable(f.name)}
	if err := copyFile(f, filepath.Join(dir, filesName, name)); err != nil {
		return entry, err
	}
	zip := s.settings.Gzip == nil || *s.settings.Gzip
	if !zip || !compressible(entry.Type) || f.size < smallest || f.size > largest {
		return entry, nil
	}
	content, err := os.ReadFile(f.host)
	if err != nil {
		return entry, err
	}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(content)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return entry, err
	}
	if zipped.Len() > len(content)*9/10 {
		return entry, nil
	}
	entry.Zipped = true
	return entry, writeFile(filepath.Join(dir, zippedName, name), zipped.Bytes())
}

func (s *static) immutable(name string) bool {
	return slices.ContainsFunc(s.settings.Immutable, func(folder string) bool {
		return strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/")
	})
}

// copyFile copies a file that must still have its digest, which the server sends as
// the ETag.
func copyFile(f siteFile, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(f.host)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.digest {
		return protocol.Retryable("%s changed while it was read", f.name)
	}
	return os.Chmod(to, 0o644)
}

func compressible(kind string) bool {
	return strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") || strings.Contains(kind, "xml") ||
		kind == "application/wasm" || kind == "font/ttf"
}

// contentType is that of a file name. It does not ask the system, whose answer
// differs between machines.
func contentType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	for _, known := range contentTypes() {
		if slices.Contains(strings.Fields(known[1]), extension) {
			return known[0]
		}
	}
	if extension == "" {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// contentTypes are content types, each with the extensions of its files.
func contentTypes() [][2]string {
	return [][2]string{
		{"text/html; charset=utf-8", ".html .htm"},
		{"text/css; charset=utf-8", ".css"},
		{"text/javascript; charset=utf-8", ".js .mjs .cjs"},
		{"text/plain; charset=utf-8", ".txt .md"},
		{"text/csv; charset=utf-8", ".csv"},
		{"text/calendar; charset=utf-8", ".ics"},
		{"application/json", ".json .map"},
		{"application/manifest+json", ".webmanifest"},
		{"application/xml", ".xml"},
		{"application/rss+xml", ".rss"},
		{"application/atom+xml", ".atom"},
		{"application/wasm", ".wasm"},
		{"application/pdf", ".pdf"},
		{"application/zip", ".zip"},
		{"application/gzip", ".gz .tgz"},
		{"image/svg+xml", ".svg"},
		{"image/png", ".png"},
		{"image/jpeg", ".jpg .jpeg"},
		{"image/gif", ".gif"},
		{"image/webp", ".webp"},
		{"image/avif", ".avif"},
		{"image/vnd.microsoft.icon", ".ico"},
		{"font/woff", ".woff"},
		{"font/woff2", ".woff2"},
		{"font/ttf", ".ttf"},
		{"font/otf", ".otf"},
		{"audio/mpeg", ".mp3"},
		{"audio/ogg", ".ogg"},
		{"audio/wav", ".wav"},
		{"video/mp4", ".mp4"},
		{"video/webm", ".webm"},
	}
}
