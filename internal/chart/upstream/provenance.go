package upstream

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"helm.sh/helm/v3/pkg/provenance"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxKeyring is the largest keyring that is read, in bytes.
const maxKeyring = 4 << 20

// Verify checks the provenance file of a chart against the keyring in the project, and
// returns the fingerprint of the key that signed it.
func Verify(c Chart, source protocol.ChartSource, projectRoot string) (signer string, err error) {
	if c.Provenance == nil {
		return "", protocol.Invalid("%s has no provenance file, and chart.keyring wants one", Title(source)).
			WithHint("take a version that is signed, or leave out chart.keyring")
	}
	keys, err := readKeyring(projectRoot, source.Keyring)
	if err != nil {
		return "", protocol.Invalid("chart.keyring %s: %w", source.Keyring, err)
	}
	// The library reads files, and holds the signed name against that of the archive.
	dir, err := os.MkdirTemp("", "harmony-provenance-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ring, sealed := filepath.Join(dir, "keyring"), filepath.Join(dir, "provenance")
	archive := filepath.Join(dir, "chart", c.archiveName(source))
	if err := os.Mkdir(filepath.Dir(archive), 0o700); err != nil {
		return "", err
	}
	for name, data := range map[string][]byte{ring: keys, sealed: c.Provenance, archive: c.Archive} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return "", err
		}
	}
	signatory, err := provenance.NewFromKeyring(ring, "")
	if err != nil {
		return "", protocol.Invalid("chart.keyring %s holds no public keys: %w", source.Keyring, err).
			WithHint("write it with: gpg --export KEY > %s", source.Keyring)
	}
	verified, err := signatory.Verify(archive, sealed)
	if err != nil {
		return "", &protocol.Error{Code: protocol.ExitFailed, Message: Title(source) + ": its provenance file does not hold with the keys in " + source.Keyring, Err: err}
	}
	return hex.EncodeToString(verified.SignedBy.PrimaryKey.Fingerprint), nil
}

// readKeyring reads the keyring; no link leads out of the project.
func readKeyring(projectRoot, name string) ([]byte, error) {
	root, err := os.OpenRoot(projectRoot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyring {
		return nil, errors.New("is not a file of at most 4 MiB")
	}
	return root.ReadFile(name)
}
