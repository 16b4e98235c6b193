package buildable

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The names of the site in a context; those in the image are in siteIndex.
const (
	siteFolder = "site"
	filesName  = "files" // in siteFolder
	zippedName = "gzip"  // in siteFolder
	indexName  = "site.json"
	indexPage  = "index.html"
)

// smallest is the size in bytes from which on a compressed variant is worth it.
const smallest = 1024

// largest is the size in bytes up to which a file is compressed.
const largest = 64 << 20

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
	if err != nil {
		return entry, err
	}
	if _, err := w.Write(content); err != nil {
		return entry, err
	}
	if err := w.Close(); err != nil {
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

// copyFile copies a file that has to have the digest still: the server tells it
// as the file's ETag.
func copyFile(f siteFile, to string) (err error) {
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
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.digest {
		return errChanged(f.name)
	}
	return os.Chmod(to, 0o644)
}

// compressible reports whether a content type is text.
func compressible(kind string) bool {
	return strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") || strings.Contains(kind, "xml") ||
		kind == "application/wasm" || kind == "font/ttf"
}

// contentType is that of a file name. It does not ask the system, whose answer
// differs between machines.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js", ".mjs", ".cjs":
		return "text/javascript; charset=utf-8"
	case ".txt", ".md", "":
		return "text/plain; charset=utf-8"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".ics":
		return "text/calendar; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".xml":
		return "application/xml"
	case ".rss":
		return "application/rss+xml"
	case ".atom":
		return "application/atom+xml"
	case ".wasm":
		return "application/wasm"
	case ".pdf":
		return "application/pdf"
	case ".zip":
		return "application/zip"
	case ".gz", ".tgz":
		return "application/gzip"
	}
	return mediaType(name)
}

// mediaType is the content type of pictures, fonts, sound and film.
func mediaType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".avif":
		return "image/avif"
	case ".ico":
		return "image/vnd.microsoft.icon"
	case ".woff":
		return "font/woff"
	case ".woff2":
		return "font/woff2"
	case ".ttf":
		return "font/ttf"
	case ".otf":
		return "font/otf"
	case ".mp3":
		return "audio/mpeg"
	case ".ogg":
		return "audio/ogg"
	case ".wav":
		return "audio/wav"
	case ".mp4":
		return "video/mp4"
	case ".webm":
		return "video/webm"
	}
	return "application/octet-stream"
}
