package buildkit

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// untar reads the regular files of an archive.
func untar(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	files := map[string]string{}
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		data, err := io.ReadAll(a)
		must(t, err)
		files[strings.TrimPrefix(h.Name, "/")] = string(data)
	}
}

// sleepers are the processes named sleep that a daemon started, directly or not.
func sleepers(t *testing.T, d *daemon) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	parent, sleeping := map[int]int{}, []int{}
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil {
			continue // ended meanwhile
		}
		text := string(data)
		open, shut := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		pid, _ := strconv.Atoi(strings.TrimSpace(text[:open]))
		parent[pid], _ = strconv.Atoi(strings.Fields(text[shut+1:])[1])
		if text[open+1:shut] == "sleep" {
			sleeping = append(sleeping, pid)
		}
	}
	var own []int
	for _, pid := range sleeping {
		for p := pid; p > 1; p = parent[p] {
			if p == d.cmd.Process.Pid {
				own = append(own, pid)
				break
			}
		}
	}
	return own
}
