package clustertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// SOPS is the real sops with an age key of the test.
type SOPS struct {
	// Program is its path, and KeyFile what SOPS_AGE_KEY_FILE has to be.
	Program, KeyFile string

	recipient string
}

// NewSOPS makes a key for the sops of the kit, which HARMONY_TEST_SOPS names.
func NewSOPS(t testing.TB) SOPS {
	t.Helper()
	program := variable(t, "HARMONY_TEST_SOPS")
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	s := SOPS{program, filepath.Join(t.TempDir(), "keys.txt"), identity.Recipient().String()}
	if err := os.WriteFile(s.KeyFile, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Encrypt encrypts a text, of the format yaml or json.
func (s SOPS) Encrypt(t testing.TB, format, text string) string {
	t.Helper()
	cmd := exec.Command(s.Program, "--encrypt", "--age", s.recipient, "--input-type", format, "--output-type", format, "/dev/stdin")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sops: %v", err)
	}
	return string(out)
}
