package nodeimport

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The test binary is also the stand-in for docker, kind and k3d: for the parts
// of their command lines that the adapter uses. Nodes are folders of
// STANDIN_NODES; those that STANDIN_LIARS names take everything and report
// success, but keep nothing, as the real tools did (k3d 5.9, kind#3996).
func TestMain(m *testing.M) {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "docker":
		err = docker(os.Args[1:])
	case "kind":
		err = kind(os.Args[1:])
	case "k3d":
		err = k3d(os.Args[1:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func nodesOnDisk() []string {
	entries, err := os.ReadDir(os.Getenv("STANDIN_NODES"))
	if err != nil {
		panic(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func kind(args []string) error {
	if strings.Join(args, " ") != "get nodes --name dev" {
		return fmt.Errorf("kind: unknown arguments %q", args)
	}
	fmt.Println(strings.Join(nodesOnDisk(), "\n"))
	return nil
}

func k3d(args []string) error {
	if strings.Join(args, " ") == "node list --output json" {
		list := []map[string]any{{"name": "k3d-dev-serverlb", "role": "loadbalancer", "runtimeLabels": map[string]string{"k3d.cluster": "dev"}}}
		for _, name := range nodesOnDisk() {
			list = append(list, map[string]any{"name": name, "role": "server", "runtimeLabels": map[string]string{"k3d.cluster": "dev"}})
		}
		list = append(list, map[string]any{"name": "other", "role": "server", "runtimeLabels": map[string]string{"k3d.cluster": "other"}})
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	if len(args) != 7 || strings.Join(args[:6], " ") != "image import --mode direct --cluster dev" {
		return fmt.Errorf("k3d: unknown arguments %q", args)
	}
	for _, name := range nodesOnDisk() {
		file, err := os.Open(args[6])
		if err != nil {
			return err
		}
		err = load(name, file)
		file.Close()
		if err != nil {
			fmt.Fprintf(os.Stderr, "ERRO[0000] failed to import images into node %s: %v\n", name, err)
		}
	}
	fmt.Println("INFO[0001] Successfully imported image(s)")
	return nil // as k3d 5.9, whatever happened
}

func docker(args []string) error {
	if len(args) < 7 || strings.Join(args[:2], " ") != "exec -i" || strings.Join(args[3:6], " ") != "ctr --namespace k8s.io" {
		return fmt.Errorf("docker: unknown arguments %q", args)
	}
	name, rest := args[2], args[6:]
	if !slices.Contains(nodesOnDisk(), name) {
		return fmt.Errorf("Error response from daemon: No such container: %s", name)
	}
	switch {
	case strings.Join(rest, " ") == "images import -":
		return load(name, os.Stdin)
	case len(rest) == 4 && rest[1] == "check":
		return list(name, rest[2:])
	}
	return fmt.Errorf("ctr: unknown arguments %q", rest)
}

// load is ctr images import.
func load(node string, stream io.Reader) error {
	if slices.Contains(strings.Fields(os.Getenv("STANDIN_LIARS")), node) {
		_, err := io.Copy(io.Discard, stream)
		return err
	}
	in := tar.NewReader(stream)
	var index v1.IndexManifest
	blobs := map[string]bool{}
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if header.Name == "index.json" {
			if err := json.Unmarshal(data, &index); err != nil {
				return err
			}
		}
		sum := sha256.Sum256(data)
		blobs["blobs/sha256/"+hex.EncodeToString(sum[:])] = true
		if strings.HasPrefix(header.Name, "blobs/") && !blobs[header.Name] {
			return fmt.Errorf("%s holds something else", header.Name)
		}
	}
	status := "complete"
	if len(blobs) < 6 {
		status = "incomplete"
	}
	for _, m := range index.Manifests {
		text := m.Annotations["io.containerd.image.name"]
		line := fmt.Sprintf("%s %s %s %s (5/5) 1.0 KiB/1.0 KiB true\n", text, m.MediaType, m.Digest, status)
		if err := os.WriteFile(filepath.Join(os.Getenv("STANDIN_NODES"), node, strings.ReplaceAll(text, "/", "_")), []byte(line), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// list is ctr images check.
func list(node string, filters []string) error {
	fmt.Println("REF TYPE DIGEST STATUS SIZE UNPACKED")
	for _, filter := range filters {
		text := strings.TrimPrefix(filter, "name==")
		line, err := os.ReadFile(filepath.Join(os.Getenv("STANDIN_NODES"), node, strings.ReplaceAll(text, "/", "_")))
		if err == nil {
			fmt.Print(string(line))
		}
	}
	return nil
}
