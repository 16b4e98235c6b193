package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What was built is what runs from the place that it was installed in. What the
// script refuses is tested in test/install_test.go.
func TestInstall(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	prefix := t.TempDir()
	install := exec.Command("../../scripts/install.sh", bin)
	install.Env = append(os.Environ(), "PREFIX="+prefix)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	built, err := exec.Command(filepath.Join(bin, "harmony"), "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	installed, err := exec.Command(filepath.Join(prefix, "bin", "harmony"), "version").Output()
	if err != nil || string(installed) != string(built) {
		t.Errorf("installed %q, %v; built %q", installed, err, built)
	}
	list := exec.Command(filepath.Join(prefix, "bin", "harmony"), "plugin", "list")
	list.Env = append(os.Environ(), "PATH="+filepath.Join(prefix, "bin")+":/usr/bin:/bin")
	out, err := list.CombinedOutput()
	if err != nil {
		t.Errorf("plugin list: %v\n%s", err, out)
	}
}
