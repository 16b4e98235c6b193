package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func digestOf(t *testing.T, d *Digests, path string) string {
	t.Helper()
	got, err := d.File(path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// poison makes the memory of every file wrong, so that a use of it shows.
func poison(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range files {
		files[name] = remembered{stat: r.stat, digest: sum("poison")}
	}
	write(t, path, string(encode(files)))
}

// age waits until the file's times are old enough to be trusted.
func age(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for !statOf(info).settled(time.Now()) {
		time.Sleep(20 * time.Millisecond)
	}
}

// A folder that cannot be written costs time, not the build.
func TestMemoryThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "one")
	d := OpenDigests(filepath.Join(file, "memory"))
	if got := digestOf(t, d, file); got != sum("one") {
		t.Errorf("digest %s", got)
	}
	d.Save()
	if got := digestOf(t, d, file); got != sum("one") {
		t.Errorf("digest %s", got)
	}
}

func TestRemembered(t *testing.T) {
	dir := t.TempDir()
	file, memory := filepath.Join(dir, "a b\n\"c\""), filepath.Join(dir, "sub", "memory")
	write(t, file, "one")
	age(t, file)
	d := OpenDigests(memory)
	if got := digestOf(t, d, file); got != sum("one") {
		t.Errorf("digest %s", got)
	}
	d.Save()
	poison(t, memory)
	if got := digestOf(t, OpenDigests(memory), file); got != sum("poison") {
		t.Error("an unchanged file was read again")
	}
	changes := map[string]func() error{
		"content of the same size and time": func() error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			write(t, file, "two")
			return os.Chtimes(file, info.ModTime(), info.ModTime())
		},
		"mode": func() error { return os.Chmod(file, 0o755) },
		"another file in its place": func() error {
			write(t, file+".new", "two")
			return os.Rename(file+".new", file)
		},
	}
	for name, change := range changes {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got := digestOf(t, OpenDigests(memory), file); got == sum("poison") {
			t.Errorf("%s changed, but the memory was used", name)
		}
	}
}

func TestYoungFileIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	file, memory := filepath.Join(dir, "file"), filepath.Join(dir, "memory")
	write(t, file, "one")
	d := OpenDigests(memory)
	for info, err := os.Stat(file); err != nil || statOf(info).over() > time.Now().UnixNano(); {
		time.Sleep(tick / 10) // until this run may trust it
	}
	digestOf(t, d, file)
	d.Save()
	if len(d.used) != 1 {
		t.Error("the same run reads the file again")
	}
	if known := OpenDigests(memory).known; len(known) > 0 {
		t.Errorf("a file that was written just now is remembered: %v", known)
	}
}

func TestMalformedMemoryIsEmpty(t *testing.T) {
	dir := t.TempDir()
	file, memory := filepath.Join(dir, "file"), filepath.Join(dir, "memory")
	write(t, file, "one")
	good := string(encode(map[string]remembered{file: {stat: stat{1, 2, 3, 4, 5, 6}, digest: sum("x")}}))
	if files, err := decode([]byte(good)); err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, content := range []string{"", "x", good[:len(good)-1], good[:len(good)-6], header + "a b c\nend\n", header + sum("x") + " 1 2 3 4 5 6 unquoted\nend\n"} {
		write(t, memory, content)
		d := OpenDigests(memory)
		if len(d.known) != 0 {
			t.Errorf("%q was understood: %v", content, d.known)
		}
		if got := digestOf(t, d, file); got != sum("one") {
			t.Errorf("%q: digest %s", content, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(map[string]remembered{"/a": {stat: stat{1, 2, 3, 4, 5, 6}, digest: sum("x")}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(encode(files))
		if err != nil || len(again) != len(files) {
			t.Errorf("%d files become %d, %v", len(files), len(again), err)
		}
	})
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	d := OpenDigests(filepath.Join(dir, "memory"))
	for _, path := range []string{dir, filepath.Join(dir, "absent"), os.DevNull} {
		if got, err := d.File(path); err == nil {
			t.Errorf("%s has the digest %s", path, got)
		}
	}
}

func TestForgottenFiles(t *testing.T) {
	dir := t.TempDir()
	memory := filepath.Join(dir, "memory")
	files := map[string]remembered{}
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprint(i))
		write(t, path, "x")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = remembered{stat: statOf(info), digest: sum("x")}
	}
	write(t, memory, string(encode(files)))
	d := OpenDigests(memory)
	digestOf(t, d, filepath.Join(dir, "1"))
	d.Save()
	if got := len(OpenDigests(memory).known); got != 1 {
		t.Errorf("%d files remembered, one was asked for", got)
	}
}

func TestTrace(t *testing.T) {
	tests := map[string]func(dir string) error{
		"file edited":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), []byte("two"), 0o644) },
		"file gone":        func(dir string) error { return os.Remove(filepath.Join(dir, "file")) },
		"file added":       func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o644) },
		"folder added":     func(dir string) error { return os.Mkdir(filepath.Join(dir, "new"), 0o755) },
		"absent came":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "sub", "absent"), nil, 0o644) },
		"present gone":     func(dir string) error { return os.Remove(filepath.Join(dir, "sub", "present")) },
		"folder to a file": func(dir string) error { return os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "file2")) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "file"), "one")
			write(t, filepath.Join(dir, "sub", "present"), "")
			memory := t.TempDir()
			d := OpenDigests(filepath.Join(memory, "digests"))
			trace := &Trace{Answer: "42"}
			if got, err := trace.File(d, filepath.Join(dir, "file")); err != nil || got != sum("one") {
				t.Fatal(got, err)
			}
			if err := trace.Folder(dir); err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]bool{"absent": false, "present": true} {
				if got, err := trace.Exists(filepath.Join(dir, "sub", file)); err != nil || got != want {
					t.Fatal(file, got, err)
				}
			}
			path := filepath.Join(memory, "trace")
			if err := trace.Save(path); err != nil {
				t.Fatal(err)
			}
			loaded, err := LoadTrace(path)
			if err != nil || loaded.Answer != "42" || !loaded.Holds(d) {
				t.Fatalf("loaded %+v, %v", loaded, err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if loaded.Holds(OpenDigests(filepath.Join(memory, "digests"))) {
				t.Error("the trace still holds")
			}
		})
	}
}

func TestSettledBefore(t *testing.T) {
	dir := t.TempDir()
	trace := &Trace{}
	if err := trace.Folder(dir); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if trace.SettledBefore(now) {
		t.Error("a folder that was made just now is settled")
	}
	if !trace.SettledBefore(now.Add(3 * time.Second)) {
		t.Error("a folder is not settled three seconds later")
	}
	whole := stat{mtime: int64(5 * time.Second)}
	if got := whole.over(); got != int64(7*time.Second) {
		t.Errorf("whole seconds are over at %v", time.Duration(got))
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	if err := Prune(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
	old := time.Now().Add(-2 * pruneAge)
	for _, name := range []string{"old", "young"} {
		write(t, filepath.Join(dir, name), "x")
	}
	if err := os.Chtimes(filepath.Join(dir, "old"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := Prune(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("left %v, %v", left, err)
	}
}
