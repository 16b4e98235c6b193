package index

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// A remote index cannot name ports of this machine either, however they
// are written.
func TestIndexFromElsewhereNamesNoPorts(t *testing.T) {
	for _, host := range []string{"localhost:1", "LOCALHOST", "a.localhost", "127.0.0.1", "127.1.2.3:99", "[::1]:5000", "[::ffff:127.0.0.1]", "0.0.0.0:80", "[::]", "169.254.169.254", "[fe80::1]"} {
		for _, scheme := range []string{"https", "oci"} {
			uri := scheme + "://" + host + "/admin/x"
			data := bytes.ReplaceAll(manifest("fleet", "1.0.0", ""), []byte("https://example.com/fleet.tar.gz"), []byte(uri))
			for address, refuse := range map[string]bool{"https://example.com/index": true, "oci://example.com/index": true, "/srv/index": false, "https://127.0.0.1:9/x": false} {
				offered, err := read(Index{Name: "corp", URL: address}, tree{"fleet.yaml": data})
				if err != nil {
					t.Fatal(err)
				}
				_, err = offered.newest("fleet")
				if (err != nil) != refuse {
					t.Errorf("%s of %s: %v", uri, address, err)
				}
				if refuse {
					refused(t, err, protocol.ExitInvalid, "a remote index cannot name an address of this machine")
				}
			}
		}
	}
}

// The same address in other words is the same index.
func TestCanonical(t *testing.T) {
	for _, same := range [][]string{
		{"git+file:///srv/x", "git+file:///srv/x/", "git+file:///srv//x", "git+file:///srv/y/../x", "/srv/x", "file:///srv/x/."},
		{"https://example.com/x", "https://EXAMPLE.com:443/x/", "https://example.com//x"},
		{"ssh://git@example.com/a/b.git", "git@example.com:a/b.git", "git+ssh://git@example.com:22/a/b.git"},
	} {
		for _, address := range same[1:] {
			if canonical(address) != canonical(same[0]) {
				t.Errorf("%s is %s, %s is %s", address, canonical(address), same[0], canonical(same[0]))
			}
		}
	}
	if canonical("https://example.com/x") == canonical("https://example.com/X") {
		t.Error("paths have a case")
	}
}

func TestMemoryIsOfAddressOrKey(t *testing.T) {
	at, s := gitPlace(t), store(t)
	at.publish(offer("fleet", "1.5.0"))
	if err := s.Add(context.Background(), Index{Name: "corp", URL: at.url}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), "corp"); err != nil {
		t.Fatal(err)
	}
	at.publish(offer("fleet", "1.4.0"))
	refused(t, s.Add(context.Background(), Index{Name: "corp", URL: at.url + "/"}), protocol.ExitFailed, "1.5.0 before")
	if err := atomicfile.Write(s.memoryFile("signed"), []byte(`{"url":"https://a.example.com","key":"K","seen":{"fleet":"2.0.0"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := s.recall(Index{Name: "signed", URL: "https://b.example.com", Key: "K"})
	if err != nil || m.Seen["fleet"] != "2.0.0" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = s.recall(Index{Name: "signed", URL: "https://b.example.com", Key: "L"}); err != nil || len(m.Seen) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A key that is there and blank is no index without signatures.
func TestBlankKey(t *testing.T) {
	for _, key := range []string{"key:", `key: ""`, "key: '  '", "key: ~"} {
		s := store(t)
		text := "apiVersion: harmony.nationtech.io/v1\nkind: PluginIndexes\nspec:\n  indexes:\n    - name: corp\n      url: /srv/x\n      " + key + "\n"
		if err := os.MkdirAll(s.dirs.config, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dirs.config, SettingsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Indexes()
		refused(t, err, protocol.ExitInvalid, "spec.indexes[0].key: is empty")
	}
}
