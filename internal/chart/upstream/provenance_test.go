package upstream

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"helm.sh/helm/v3/pkg/provenance"

	"github.com/nationtech/harmony/pkg/protocol"
)

// key is a new OpenPGP key.
func key(t *testing.T) *openpgp.Entity {
	t.Helper()
	made, err := openpgp.NewEntity("Publisher", "", "publisher@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// sign makes the provenance file of an archive as helm package --sign does.
func sign(t *testing.T, with *openpgp.Entity, name string, chart []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, chart, 0o600); err != nil {
		t.Fatal(err)
	}
	signatory := provenance.Signatory{Entity: with}
	text, err := signatory.ClearSign(path)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text)
}

func TestVerify(t *testing.T) {
	root := t.TempDir()
	ours, theirs := key(t), key(t)
	var ring, text bytes.Buffer
	if err := ours.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	armored, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Serialize(armored); err != nil {
		t.Fatal(err)
	}
	if err := armored.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"keys.gpg": ring.Bytes(), "keys.asc": text.Bytes()} {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	const name = "redis-20.1.0.tgz"
	chart, other := archive(t, "redis", "20.1.0", "x"), archive(t, "redis", "20.1.0", "y")
	signed := sign(t, ours, name, chart)
	for _, c := range []struct {
		name, keyring string
		chart         Chart
		code          int
		want          string
	}{
		{"of a registry", "keys.gpg", Chart{Archive: chart, Provenance: signed}, protocol.ExitOK, ""},
		{"of a repository", "keys.gpg", Chart{Archive: chart, Provenance: signed, URL: "https://charts.example.com/a/" + name + "?x=y"}, protocol.ExitOK, ""},
		{"not signed", "keys.gpg", Chart{Archive: chart}, protocol.ExitInvalid, "has no provenance file"},
		{"another archive", "keys.gpg", Chart{Archive: other, Provenance: signed}, protocol.ExitFailed, "sha256 sum does not match"},
		{"another key", "keys.gpg", Chart{Archive: chart, Provenance: sign(t, theirs, name, chart)}, protocol.ExitFailed, "does not hold with the keys in keys.gpg"},
		{"another name", "keys.gpg", Chart{Archive: chart, Provenance: sign(t, ours, "redis-19.0.0.tgz", chart)}, protocol.ExitFailed, name},
		{"changed", "keys.gpg", Chart{Archive: chart, Provenance: bytes.Replace(signed, []byte("redis"), []byte("nginx"), 1)}, protocol.ExitFailed, "does not hold"},
		{"not a signature", "keys.gpg", Chart{Archive: chart, Provenance: []byte("x")}, protocol.ExitFailed, "does not hold"},
		{"an armored keyring", "keys.asc", Chart{Archive: chart, Provenance: signed}, protocol.ExitInvalid, "holds no public keys"},
		{"no keyring", "none.gpg", Chart{Archive: chart, Provenance: signed}, protocol.ExitInvalid, "chart.keyring none.gpg"},
		{"a keyring outside of the project", "link", Chart{Archive: chart, Provenance: signed}, protocol.ExitInvalid, "chart.keyring link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := protocol.ChartSource{URL: "oci://registry.example.com/charts/redis", Version: "20.1.0", Keyring: c.keyring}
			signer, err := Verify(c.chart, source, root)
			if protocol.ExitCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("status %d: %v; want %q", protocol.ExitCode(err), err, c.want)
			}
			if want := hex.EncodeToString(ours.PrimaryKey.Fingerprint); err == nil && signer != want {
				t.Errorf("signed by %s, want %s", signer, want)
			}
		})
	}
}
