package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// writePause builds the pause program, and its image as a Docker archive.
func (c *cluster) writePause(ctx context.Context) error {
	archive := c.path("pause.tar")
	if _, err := os.Stat(archive); err == nil {
		return nil
	}
	source, err := sourceFolder()
	if err != nil {
		return err
	}
	binary := c.path("bin", "pause")
	build := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./pause"}
	if err := c.goCommand(ctx, source, build); err != nil {
		return fmt.Errorf("build pause: %w", err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	content, err := imageArchive(pauseImage, program)
	if err != nil {
		return err
	}
	return writeFile(archive, content, 0o644)
}

// imageArchive is an image of one static program, /pause, in the format of
// `docker save`.
func imageArchive(name string, program []byte) ([]byte, error) {
	layer, err := tarball(entry{"pause", program, 0o755})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       object{"Entrypoint": []string{"/pause"}},
		"rootfs":       object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]object{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	return tarball(entry{"config.json", config, 0o644}, entry{"layer.tar", layer, 0o644}, entry{"manifest.json", manifest, 0o644})
}

// entry is one file of an archive.
type entry struct {
	name    string
	content []byte
	mode    int64
}

func tarball(entries ...entry) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		header := tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// importPause gives containerd the pause image; it fails until containerd is ready.
func (c *cluster) importPause(ctx context.Context) error {
	names, err := c.ctr(ctx, "images", "list", "-q", "name=="+pauseImage)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(names)) > 0 {
		return nil
	}
	_, err = c.ctr(ctx, "images", "import", c.path("pause.tar"))
	return err
}

// ctr runs containerd's own client in the namespace of Kubernetes.
func (c *cluster) ctr(ctx context.Context, args ...string) ([]byte, error) {
	all := append([]string{"--address", c.path("containerd.sock"), "--connect-timeout", "2s", "--namespace", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join("/usr/bin", "ctr"), all...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ctr %s: %w: %s", args[0], err, tail(stderr.Bytes(), 3))
	}
	return output, nil
}
