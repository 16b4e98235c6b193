package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// site is the index: what is served, and how.
type site struct {
	// Folder has the files, and Zipped the compressed variants of some of them
	// under the same names.
	Folder string `json:"folder"`
	Zipped string `json:"zipped"`
	Port   int    `json:"port"`
	// Modified is Last-Modified of every file, in Unix seconds; none when 0.
	Modified int64 `json:"modified"`
	// Fallback is the file that answers for a path that has no extension and is
	// not there, as single-page applications need it; or empty.
	Fallback string `json:"fallback"`
	// NotFound is the page that comes with status 404; or empty.
	NotFound string `json:"notFound"`
	// Files are what is served, by path without a leading slash.
	Files map[string]entry `json:"files"`
}

// entry is one file.
type entry struct {
	Type string `json:"type"`
	// Tag identifies the content.
	Tag string `json:"tag"`
	// Zipped is true when there is a compressed variant.
	Zipped bool `json:"zipped,omitempty"`
	// Immutable files never change under their name.
	Immutable bool `json:"immutable,omitempty"`
}

const (
	health  = "/healthz"
	index   = "index.html"
	forever = "public, max-age=31536000, immutable"
)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == health {
		io.WriteString(w, "ok\n")
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if _, ok := s.Files[path.Join(name, index)]; ok {
		if name != "" && !strings.HasSuffix(r.URL.Path, "/") {
			redirect(w, "/"+name+"/", r.URL.RawQuery)
			return
		}
		name = path.Join(name, index)
	}
	if _, ok := s.Files[name]; ok {
		s.file(w, r, name)
		return
	}
	s.missing(w, r, name)
}

// redirect sends the client to the folder's own address. The path is clean and
// begins with one slash, so that it cannot name another host.
func redirect(w http.ResponseWriter, to, query string) {
	target := url.URL{Path: to, RawQuery: query}
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusMovedPermanently)
}

// missing answers for a path that is not there.
func (s *site) missing(w http.ResponseWriter, r *http.Request, name string) {
	if s.Fallback != "" && path.Ext(name) == "" {
		s.file(w, r, s.Fallback)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	e, ok := s.Files[s.NotFound]
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	content, err := os.Open(s.path(s.Folder, s.NotFound))
	if err != nil {
		fail(w, err)
		return
	}
	defer content.Close()
	w.Header().Set("Content-Type", e.Type)
	w.WriteHeader(http.StatusNotFound)
	if r.Method != http.MethodHead {
		io.Copy(w, content) // what fails now is the connection
	}
}

// file serves a file that the index has.
func (s *site) file(w http.ResponseWriter, r *http.Request, name string) {
	e, folder := s.Files[name], s.Folder
	tag := e.Tag
	header := w.Header()
	if e.Zipped {
		header.Set("Vary", "Accept-Encoding")
	}
	if e.Zipped && accepts(r.Header.Values("Accept-Encoding")) && r.Header.Get("Range") == "" {
		folder, tag = s.Zipped, tag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	content, err := os.Open(s.path(folder, name))
	if err != nil {
		fail(w, err)
		return
	}
	defer content.Close()
	header.Set("Content-Type", e.Type)
	header.Set("ETag", `"`+tag+`"`)
	header.Set("Cache-Control", "no-cache")
	if e.Immutable {
		header.Set("Cache-Control", forever)
	}
	http.ServeContent(w, r, name, time.Unix(s.Modified, 0), content)
}

func (s *site) path(folder, name string) string {
	return filepath.Join(folder, filepath.FromSlash(name))
}

// fail answers when a file of the index cannot be read.
func fail(w http.ResponseWriter, err error) {
	fmt.Fprintln(os.Stderr, "staticserver:", err)
	w.Header().Del("Content-Encoding")
	http.Error(w, "internal server error", http.StatusInternalServerError)
}

// accepts reports whether a client takes gzip.
func accepts(headers []string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		coding, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(coding) != "gzip" {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		quality, err := strconv.ParseFloat(value, 64)
		return name != "q" || err != nil || quality > 0
	}
	return false
}
