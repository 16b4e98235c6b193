package test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/config"
	pluginindex "github.com/nationtech/harmony/internal/plugins/index"
	"github.com/nationtech/harmony/schemas"
)

// The documents of docs/plugin-index.md are taken as they stand.
func TestPluginIndexDocs(t *testing.T) {
	blocks := blocksOf(t, "../docs/plugin-index.md", "yaml")
	if len(blocks) != 2 {
		t.Fatalf("%d documents", len(blocks))
	}
	settings, manifest := blocks[0], blocks[1]
	home := func(dir string) func(string) string {
		return func(string) string { return dir } // the folders of configuration, cache and state
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "harmony", pluginindex.SettingsFile)
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(settings), 0o600)); err != nil {
		t.Fatal(err)
	}
	indexes, err := pluginindex.Open(home(dir)).Indexes()
	if err != nil || len(indexes) != 2 || indexes[0].URL != pluginindex.DefaultURL || indexes[1].Key == "" {
		t.Errorf("%+v, %v", indexes, err)
	}
	index := t.TempDir()
	if err := os.WriteFile(filepath.Join(index, "spinnaker.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	s := pluginindex.Open(home(t.TempDir()))
	s.Only = index
	found, err := s.Find(context.Background(), "spinnaker", "1.4.0")
	if err != nil || len(found.Manifest.Platforms) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	body, err := sigsyaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.ValidateAs("Plugin.json", body); err != nil {
		t.Error(err)
	}
	if text, err := config.Encode(found.Manifest); err != nil || string(text) != manifest {
		t.Errorf("harmony writes it as\n%s%v", text, err)
	}
}
