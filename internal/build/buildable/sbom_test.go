package buildable

import (
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// TestSPDX compares a whole document, of every kind of module.
func TestSPDX(t *testing.T) {
	d, err := newSPDX(&debug.BuildInfo{
		GoVersion: "go1.26.1 X:nogreenteagc", Path: "example.com/demo/cmd/demo", Main: debug.Module{Path: "example.com/demo", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "github.com/BurntSushi/toml", Version: "v1.5.0"},
			{Path: "example.com/old", Version: "v2.0.0+incompatible"},
			{Path: "example.com/near", Version: "v0.0.0", Replace: &debug.Module{Path: "./near", Version: "(devel)"}},
			{Path: "example.com/fork", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork-of/it", Version: "v1.0.1"}},
		},
	}, "/app/demo", time.Unix(86400, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/sbom.spdx.json"
	if os.Getenv("HARMONY_TEST_UPDATE") != "" {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != string(got) {
		t.Errorf("the document is\n%s", got)
	}
}

// TestSPDXIdentifiersDiffer has modules whose names differ only in what an SPDXID
// cannot have.
func TestSPDXIdentifiersDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range []debug.Module{{Path: "a/b"}, {Path: "a-b"}, {Path: "a_b"}, {Path: "a/b", Version: "v1"}, {Path: "a/b", Version: "v1+x"}} {
		id := spdxModule(&m).ID
		if seen[id] || strings.Trim(strings.TrimPrefix(id, "SPDXRef-"), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			t.Errorf("%+v has the ID %s", m, id)
		}
		seen[id] = true
	}
}
