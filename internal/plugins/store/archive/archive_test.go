package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/store/archive"
)

// member is an entry of a test's archive.
type member struct {
	name, body, link string
	mode             int64 // 0644 when 0
	kind             byte  // a file when 0
}

func tarGz(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	w := tar.NewWriter(zipped)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: m.mode, Typeflag: m.kind, Linkname: m.link, Size: int64(len(m.body))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: h.Typeflag, PAXRecords: map[string]string{"comment": "a commit"}}
		}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, m.body)
		must(t, err)
	}
	must(t, w.Close())
	must(t, zipped.Close())
	return b.Bytes()
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		mode := fs.FileMode(m.mode)
		if mode == 0 {
			mode = 0o644
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		must(t, err)
		_, err = io.WriteString(f, m.body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unpack unpacks data into a new folder.
func unpack(t testing.TB, data []byte, limits archive.Limits) (string, error) {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "in")
	must(t, os.Mkdir(folder, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "archive"), data, 0o600))
	file, err := os.Open(filepath.Join(dir, "archive"))
	must(t, err)
	defer file.Close()
	return folder, archive.Unpack(context.Background(), file, folder, "harmony-foo", limits)
}

var usual = archive.LimitsFor(1)

func TestUnpack(t *testing.T) {
	long := strings.Repeat("long/", 25) + "name"
	members := []member{
		{name: "./"},
		{name: "bin/", mode: 0o775},
		{name: "./bin/harmony-foo", body: "program", mode: 0o777},
		{name: "share/data.txt", body: "data", mode: 0o600},
		{name: long, body: "deep"},
	}
	tarred := append([]member{}, members...)
	for i, m := range tarred {
		if strings.HasSuffix(m.name, "/") {
			tarred[i].kind = tar.TypeDir
		}
	}
	zipped := append([]member{}, members[1:]...)
	zipped[0].mode = int64(fs.ModeDir | 0o775)
	for name, data := range map[string][]byte{
		"tar.gz": tarGz(t, append(tarred, member{kind: tar.TypeXGlobalHeader})...),
		"zip":    zipOf(t, zipped...),
	} {
		t.Run(name, func(t *testing.T) {
			folder, err := unpack(t, data, usual)
			must(t, err)
			for path, want := range map[string]struct {
				body string
				mode fs.FileMode
			}{"bin/harmony-foo": {"program", 0o755}, "share/data.txt": {"data", 0o644}, long: {"deep", 0o644}} {
				path = filepath.Join(folder, path)
				body, err := os.ReadFile(path)
				must(t, err)
				info, err := os.Stat(path)
				must(t, err)
				if string(body) != want.body || info.Mode() != want.mode {
					t.Errorf("%s: %q with mode %v", path, body, info.Mode())
				}
				if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
					t.Errorf("folder of %s: %v, %v", path, info.Mode(), err)
				}
			}
		})
	}
}

func TestUnpackBare(t *testing.T) {
	folder, err := unpack(t, []byte("#!/bin/sh\n"), usual)
	must(t, err)
	info, err := os.Stat(filepath.Join(folder, "harmony-foo"))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	few := archive.Limits{Bytes: 1 << 20, Entries: 5}
	big := strings.Repeat("0", 2<<20)
	whole := tarGz(t, member{name: "a", body: strings.Repeat("text", 1000)}, member{name: "b"})
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"dots":               {tarGz(t, member{name: "../evil"}), "leads out of the archive"},
		"dots within":        {tarGz(t, member{name: "a/../b"}), "leads out of the archive"},
		"absolute":           {tarGz(t, member{name: "/etc/evil"}), "absolute path"},
		"backslash":          {tarGz(t, member{name: `..\evil`}), "a backslash or a colon"},
		"drive":              {tarGz(t, member{name: `C:evil`}), "a backslash or a colon"},
		"control":            {tarGz(t, member{name: "a\x1b[2Jb"}), "which is not printable text"},
		"line end":           {tarGz(t, member{name: "a\nb"}), "which is not printable text"},
		"right to left":      {tarGz(t, member{name: "a\u202egpj"}), "which is not printable text"},
		"not UTF-8":          {tarGz(t, member{name: "a\xff"}), "which is not printable text"},
		"long name":          {tarGz(t, member{name: strings.Repeat("n", 2000)}), "is too long"},
		"deep":               {tarGz(t, member{name: strings.Repeat("n/", 40) + "n"}), "is too long"},
		"symlink":            {tarGz(t, member{name: "a", kind: tar.TypeSymlink, link: "b"}), "is a link"},
		"symlink and file":   {tarGz(t, member{name: "a", kind: tar.TypeSymlink, link: "/tmp"}, member{name: "a/b"}), "is a link"},
		"hard link":          {tarGz(t, member{name: "a", kind: tar.TypeLink, link: "b"}), "is a link"},
		"character device":   {tarGz(t, member{name: "a", kind: tar.TypeChar}), "is a device"},
		"block device":       {tarGz(t, member{name: "a", kind: tar.TypeBlock}), "is a device"},
		"pipe":               {tarGz(t, member{name: "a", kind: tar.TypeFifo}), "is a pipe"},
		"unknown type":       {tarGz(t, member{name: "a", kind: 'Z'}), "only files and folders"},
		"setuid":             {tarGz(t, member{name: "a", mode: 0o4755}), "setuid"},
		"setgid":             {tarGz(t, member{name: "a", mode: 0o2755}), "setuid"},
		"setgid folder":      {tarGz(t, member{name: "a/", mode: 0o2755, kind: tar.TypeDir}), "setuid"},
		"sticky":             {tarGz(t, member{name: "a", mode: 0o1755}), "sticky"},
		"twice":              {tarGz(t, member{name: "a"}, member{name: "./a"}), "a second entry"},
		"twice by case":      {tarGz(t, member{name: "a"}, member{name: "A"}), "a second entry"},
		"file as folder":     {tarGz(t, member{name: "a"}, member{name: "a/b"}), "entry \"a/b\""},
		"folder as file":     {tarGz(t, member{name: "a/b"}, member{name: "a"}), "exists"},
		"folder's own name":  {tarGz(t, member{name: "."}), "has no name"},
		"large":              {tarGz(t, member{name: "a", body: big}), "more than 1 MiB"},
		"large behind":       {append(tarGz(t, member{name: "a"}), gzipped(t, big)...), "more than 1 MiB"},
		"many":               {tarGz(t, many(6)...), "more than 5 entries"},
		"cut":                {whole[:len(whole)-9], "unexpected EOF"},
		"cut within":         {whole[:len(whole)/2], "unexpected EOF"},
		"rubbish behind":     {append(tarGz(t, member{name: "a"}), "rubbish that is long"...), "invalid header"},
		"gzip of no tar":     {gzipped(t, "hello"), "unexpected EOF"},
		"empty":              {nil, "read the artifact"},
		"a page":             {[]byte("<!doctype html>"), "neither a tar.gz, a zip nor an executable"},
		"short":              {[]byte("x"), "neither a tar.gz"},
		"large bare":         {[]byte("#!" + big), "more than 1 MiB"},
		"zip: dots":          {zipOf(t, member{name: "../evil"}), "leads out of the archive"},
		"zip: absolute":      {zipOf(t, member{name: "/etc/evil"}), "absolute path"},
		"zip: backslash":     {zipOf(t, member{name: `..\evil`}), "a backslash or a colon"},
		"zip: control":       {zipOf(t, member{name: "a\x1bb"}), "which is not printable text"},
		"zip: symlink":       {zipOf(t, member{name: "a", body: "/etc", mode: int64(fs.ModeSymlink | 0o777)}), "is a link"},
		"zip: device":        {zipOf(t, member{name: "a", mode: int64(fs.ModeDevice | 0o666)}), "is a device"},
		"zip: pipe":          {zipOf(t, member{name: "a", mode: int64(fs.ModeNamedPipe | 0o666)}), "is a pipe"},
		"zip: setuid":        {zipOf(t, member{name: "a", mode: int64(fs.ModeSetuid | 0o755)}), "setuid"},
		"zip: twice":         {zipOf(t, member{name: "a"}, member{name: "a"}), "a second entry"},
		"zip: large":         {zipOf(t, member{name: "a", body: big}), "more than 1 MiB"},
		"zip: many":          {zipOf(t, many(6)...), "more than 5 entries"},
		"zip: cut":           {zipOf(t, many(2)...)[:60], "not a valid zip file"},
		"zip: with password": {locked(t), "is encrypted"},
		"zip: rubbish after": {append(zipOf(t, member{name: "a"}), "rubbish"...), "bytes before or after its end"},
		"zip: zip after":     {append(zipOf(t, member{name: "a"}), zipOf(t, member{name: "b"})...), "bytes before"},
		"zip: entry before":  {append([]byte("PK\x03\x04"+strings.Repeat("x", 60)), zipOf(t, member{name: "a"})...), "bytes before"},
	} {
		t.Run(name, func(t *testing.T) {
			folder, err := unpack(t, test.data, few)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 500) {
				t.Errorf("the message is not fit to be shown: %q", err)
			}
			entries, err := os.ReadDir(filepath.Dir(folder))
			if must(t, err); len(entries) != 2 {
				t.Errorf("something was written beside the folder: %v", entries)
			}
		})
	}
}

func TestUnpackIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	_, err = file.Write(tarGz(t, member{name: "a", body: "text"}))
	must(t, err)
	if err := archive.Unpack(ctx, file, t.TempDir(), "a", usual); err == nil {
		t.Error("went on")
	}
}

func many(n int) []member {
	var list []member
	for i := range n {
		list = append(list, member{name: string(rune('a' + i))})
	}
	return list
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// locked is a zip whose entry says that it is encrypted.
func locked(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "a", Flags: 1})
	must(t, err)
	_, err = io.WriteString(f, "")
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// Whatever an archive holds, nothing is written outside of the folder.
func FuzzUnpack(f *testing.F) {
	f.Add(tarGz(f, member{name: "a/b", body: "text"}))
	f.Add(tarGz(f, member{name: "../a", kind: tar.TypeSymlink, link: "/tmp"}, member{name: "../a/b"}))
	f.Add(zipOf(f, member{name: "a/b", body: "text"}, member{name: "../c"}))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		folder, err := unpack(t, data, archive.Limits{Bytes: 1 << 16, Entries: 20})
		entries, e := os.ReadDir(filepath.Dir(folder))
		if must(t, e); len(entries) != 2 {
			t.Errorf("something was written beside the folder: %v", entries)
		}
		must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, e error) error {
			if e == nil && !entry.IsDir() && !entry.Type().IsRegular() {
				t.Errorf("%s is %v (%v)", path, entry.Type(), err)
			}
			return e
		}))
	})
}
