// Package localcluster knows the Kubernetes clusters that run in containers of
// this machine, k3d's and kind's, by the kube context that they are given.
package localcluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The tools that make such clusters.
const (
	K3d  = "k3d"
	Kind = "kind"
)

// Cluster is one of them.
type Cluster struct {
	// Tool is K3d or Kind, and Name what the tool calls the cluster.
	Tool, Name string
}

// Of is the cluster that a kube context of that name is for; false when it is
// not one of these.
func Of(context string) (Cluster, bool) {
	for _, tool := range []string{K3d, Kind} {
		if name, ok := strings.CutPrefix(context, tool+"-"); ok && name != "" {
			return Cluster{tool, name}, true
		}
	}
	return Cluster{}, false
}

// maxKubeconfig bounds a file that is read, in bytes.
const maxKubeconfig = 8 << 20

// CurrentContext is the current kube context: of the files of KUBECONFIG the
// first that names one, else of ~/.kube/config; empty when there is none.
func CurrentContext(getenv func(string) string) (string, error) {
	for _, path := range files(getenv) {
		name, err := read(path)
		if name != "" || err != nil {
			return name, err
		}
	}
	return "", nil
}

func files(getenv func(string) string) []string {
	if list := getenv("KUBECONFIG"); list != "" {
		return filepath.SplitList(list)
	}
	if home := getenv("HOME"); home != "" {
		return []string{filepath.Join(home, ".kube", "config")}
	}
	return nil
}

func read(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	defer file.Close()
	var content struct {
		CurrentContext string `yaml:"current-context"`
	}
	err = yaml.NewDecoder(io.LimitReader(file, maxKubeconfig)).Decode(&content)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("kubeconfig %s is not YAML", path) // the parser's own words quote it
	}
	return content.CurrentContext, nil
}
