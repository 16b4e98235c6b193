package test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/buildkit"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// accept fails unless the adapter buildkit takes the settings of the provider.
func accept(t *testing.T, provider protocol.Provider) {
	t.Helper()
	t.Setenv("BUILDKIT_HOST", "")
	env := capability.Environment{Provider: provider, Cache: t.TempDir(), Progress: func(protocol.Event) {}}
	if _, err := buildkit.New(&build.Flags{})(t.Context(), env); err != nil {
		t.Errorf("settings %v: %v", provider.Settings, err)
	}
}

func TestBuildFarmTopology(t *testing.T) {
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(blocksOf(t, "../docs/build-farm.md", "yaml")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	farm := project.Topologies[0].ContainerBuilder
	if workers, _ := farm.Settings["addresses"].([]any); len(workers) != 3 {
		t.Errorf("addresses %v", farm.Settings["addresses"])
	}
	accept(t, *farm)
}

// The settings of the reference are all that there are, and are taken.
func TestConfigurationOfBuildKit(t *testing.T) {
	for _, block := range blocksOf(t, "../docs/configuration.md", "yaml") {
		text, ok := strings.CutPrefix(block, "containerBuilder:\n")
		if !ok {
			continue
		}
		var provider struct {
			Adapter  string
			Settings map[string]any
		}
		if err := yaml.Unmarshal([]byte(text), &provider); err != nil {
			t.Fatal(err)
		}
		accept(t, protocol.Provider{Adapter: provider.Adapter, Settings: provider.Settings})
		return
	}
	t.Fatal("docs/configuration.md has no block containerBuilder")
}

// What the reference says of an image is what harmony.yaml takes.
func TestConfigurationOfImage(t *testing.T) {
	for _, block := range blocksOf(t, "../docs/configuration.md", "yaml") {
		if !strings.HasPrefix(block, "image:\n") {
			continue
		}
		const head = "apiVersion: harmony.nationtech.io/v1\nkind: AppSpec\nmetadata: {name: app}\nspec:\n  chart: {path: chart, image: {value: image}}\n"
		file := filepath.Join(t.TempDir(), "harmony.yaml")
		text := head + "  " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n  ") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		project, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := project.Apps[0].Image.Dockerfile; d == nil || len(d.Contexts) != 2 || len(d.Secrets) != 2 || len(d.SSH) != 1 {
			t.Errorf("dockerfile %+v", d)
		}
		return
	}
	t.Fatal("docs/configuration.md has no block image")
}

// So is what it says of a workload, all of it.
func TestConfigurationOfWorkload(t *testing.T) {
	for _, block := range blocksOf(t, "../docs/configuration.md", "yaml") {
		if !strings.HasPrefix(block, "chart:\n") || !strings.Contains(block, "workload:") {
			continue
		}
		const head = "apiVersion: harmony.nationtech.io/v1\nkind: AppSpec\nmetadata: {name: app}\nspec:\n  image: {buildable: {type: go}}\n"
		file := filepath.Join(t.TempDir(), "harmony.yaml")
		text := head + "  " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n  ") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		project, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if w := project.Apps[0].Chart.Workload; w == nil || len(w.Volumes) != 3 || w.Ingress == nil || w.Disruption == nil {
			t.Errorf("workload %+v", w)
		}
		return
	}
	t.Fatal("docs/configuration.md has no block chart with a workload")
}

// The targets of the reference are taken, with every field that there is.
func TestEdgeDeviceTargets(t *testing.T) {
	block := blocksOf(t, "../docs/edge-devices.md", "yaml")[0]
	text := "apiVersion: harmony.nationtech.io/v1\nkind: Topology\nmetadata: {name: edge}\nspec:\n  " + strings.ReplaceAll(strings.TrimRight(block, "\n"), "\n", "\n  ") + "\n"
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	shops := project.Topologies[0].Targets["shops"].EdgeDevice
	for _, of := range []reflect.Type{reflect.TypeFor[protocol.EdgeDevice](), reflect.TypeFor[protocol.DeviceReports]()} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name != "device" && !strings.Contains(block, name+":") {
				t.Errorf("%s.%s is not in the reference", of.Name(), name)
			}
		}
	}
	if shops.Group != "shops" || len(shops.Reports.Devices) != 2 || shops.Reports.Await == 0 {
		t.Errorf("target %+v", shops)
	}
}
