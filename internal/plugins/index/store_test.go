package index

import (
	"context"
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

var exitCode = protocol.ExitCode

// Every kind of source offers the same: search, versions, updates, and no way
// back to an older version.
func TestSources(t *testing.T) {
	ctx := context.Background()
	for kind, at := range places(t) {
		t.Run(kind, func(t *testing.T) {
			s := store(t)
			s.Transport = at.transport
			at.publish(join(offer("fleet", "1.4.0"), offer("shop", "2.0.0"), tree{"fleet@1.3.0.yaml": manifest("fleet", "1.3.0", "")}))
			if err := s.Remove(context.Background(), DefaultName); err != nil {
				t.Fatal(err)
			}
			if err := s.Add(ctx, Index{Name: "corp", URL: at.url}); err != nil {
				t.Fatal(err)
			}
			expect(t, "search", search(t, s, ""), []string{"corp/fleet@1.4.0", "corp/shop@2.0.0"})
			expect(t, "search of words", search(t, s, "HELLO sh"), []string{"corp/shop@2.0.0"})
			for _, version := range []string{"", "1.4.0", "1.3.0"} {
				found, err := s.Find(ctx, "corp/fleet", version)
				if want := version; err != nil || want != "" && found.Manifest.Version != want || want == "" && found.Manifest.Version != "1.4.0" {
					t.Errorf("find %q: %v, %v", version, found.Manifest, err)
				}
			}
			_, err := s.Find(ctx, "fleet", "1.2.0")
			refused(t, err, protocol.ExitUnsupported, "no version 1.2.0")
			_, err = s.Find(ctx, "fleeet", "")
			refused(t, err, protocol.ExitUnsupported, "no index has a plugin fleeet")

			at.publish(join(offer("fleet", "1.5.0"), offer("shop", "2.0.0")))
			if err := s.Update(ctx, "corp"); err != nil {
				t.Fatal(err)
			}
			expect(t, "after the update", search(t, s, ""), []string{"corp/fleet@1.5.0", "corp/shop@2.0.0"})

			at.publish(join(offer("fleet", "1.4.0"), offer("shop", "2.1.0")))
			refused(t, s.Update(ctx), protocol.ExitFailed, "corp is refused", "fleet 1.4.0", "1.5.0 before")
			if kind != "folder" {
				expect(t, "after a replay", search(t, s, ""), []string{"corp/fleet@1.5.0", "corp/shop@2.0.0"})
			}
			s.AllowDowngrade = true
			if err := s.Update(ctx); err != nil {
				t.Fatal(err)
			}
			expect(t, "after a downgrade", search(t, s, ""), []string{"corp/fleet@1.4.0", "corp/shop@2.1.0"})
		})
	}
}

// With a key nothing passes that it did not sign, from any source.
func TestSignatures(t *testing.T) {
	ctx := context.Background()
	keys := map[string]signing{"minisign": hashedMinisignKey(t), "old minisign": minisignKey(t), "cosign": ecdsaKey(t, elliptic.P256())}
	for kind, at := range places(t) {
		for tool, key := range keys {
			if kind == "git" && tool != "cosign" {
				continue // the key makes no difference to it, and git is slow
			}
			t.Run(kind+" "+tool, func(t *testing.T) {
				s := store(t)
				s.Transport = at.transport
				index := Index{Name: "corp", URL: at.url, Key: key.public}
				at.publish(offer("fleet", "1.0.0"))
				refused(t, s.Add(ctx, index), protocol.ExitFailed, "fleet.yaml is not signed: there is no fleet.yaml.")
				at.publish(key.sign(offer("fleet", "1.0.0")))
				if err := s.Add(ctx, index); err != nil {
					t.Fatal(err)
				}
				for why, files := range map[string]tree{
					"other content":  join(key.sign(offer("fleet", "1.0.0")), offer("fleet", "1.1.0")),
					"another key":    minisignKey(t).sign(offer("fleet", "1.1.0")),
					"one without":    join(key.sign(offer("fleet", "1.1.0")), offer("shop", "1.0.0")),
					"empty":          join(offer("fleet", "1.1.0"), tree{"fleet.yaml.minisig": {}, "fleet.yaml.sig": {}}),
					"of another":     swap(key.sign(join(offer("fleet", "1.1.0"), offer("shop", "1.0.0")))),
					"no base64":      join(offer("fleet", "1.1.0"), tree{"fleet.yaml.minisig": []byte("§"), "fleet.yaml.sig": []byte("§")}),
					"older unsigned": join(key.sign(offer("fleet", "1.1.0")), tree{"fleet@1.0.0.yaml": manifest("fleet", "1.0.0", "")}),
				} {
					at.publish(files)
					err := s.Update(ctx, "corp")
					refused(t, err, protocol.ExitFailed, "index corp is refused", "is not signed")
					if t.Failed() {
						t.Fatalf("when the signature is %s", why)
					}
				}
				at.publish(key.sign(offer("fleet", "1.2.0")))
				found, err := s.Find(ctx, "corp/fleet", "")
				if want := map[bool]string{true: "1.2.0", false: "1.0.0"}[kind == "folder"]; err != nil || found.Manifest.Version != want {
					t.Errorf("found %v, %v; want the last that was verified, %s", found.Manifest, err, want)
				}
			})
		}
	}
}

// swap exchanges the signatures of two manifests.
func swap(files tree) tree {
	for _, suffix := range []string{minisignSuffix, cosignSuffix} {
		a, b := "fleet.yaml"+suffix, "shop.yaml"+suffix
		if files[a] != nil {
			files[a], files[b] = files[b], files[a]
		}
	}
	return files
}

// A copy that was changed on the disk after it was verified does not pass.
func TestCopyIsVerifiedAgain(t *testing.T) {
	ctx := context.Background()
	at, key := gitPlace(t), minisignKey(t)
	s := store(t)
	at.publish(key.sign(offer("fleet", "1.0.0")))
	index := Index{Name: "corp", URL: at.url, Key: key.public}
	if err := s.Add(ctx, index); err != nil {
		t.Fatal(err)
	}
	if err := s.keep(index, join(key.sign(offer("fleet", "1.0.0")), offer("fleet", "9.0.0"))); err != nil {
		t.Fatal(err)
	}
	_, err := s.Find(ctx, "corp/fleet", "")
	refused(t, err, protocol.ExitFailed, "is not signed")
}

func TestKeys(t *testing.T) {
	for _, text := range []string{
		"RWQ", "RW" + strings.Repeat("A", 54), "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
		ecdsaKey(t, elliptic.P384()).public, ecdsaKey(t, elliptic.P256()).public + ecdsaKey(t, elliptic.P256()).public, "-----BEGIN PRIVATE KEY-----",
	} {
		if _, err := parseKey(text); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
		err := store(t).Add(context.Background(), Index{Name: "corp", URL: t.TempDir(), Key: text})
		refused(t, err, protocol.ExitInvalid, "index.key")
	}
}

// Removing an index and adding it again is no way to an older version.
func TestMemoryOutlivesTheIndex(t *testing.T) {
	ctx := context.Background()
	at, s := gitPlace(t), store(t)
	index := Index{Name: "corp", URL: at.url}
	at.publish(offer("fleet", "1.5.0"))
	if err := s.Add(ctx, index); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), "corp"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.copyFile("corp")); !os.IsNotExist(err) {
		t.Errorf("the copy of a removed index is there still: %v", err)
	}
	at.publish(offer("fleet", "1.4.0"))
	refused(t, s.Add(ctx, index), protocol.ExitFailed, "1.5.0 before")
	indexes, err := s.Indexes()
	if err != nil || len(indexes) != 1 || indexes[0].Name != DefaultName {
		t.Errorf("an index that was refused is configured: %v, %v", indexes, err)
	}
	if err := os.WriteFile(s.memoryFile("corp"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, s.Add(ctx, index), protocol.ExitFailed, "cannot be read: remove it")
}

// An index that cannot be reached is used as it was, and says so; one that is
// wrong is not.
func TestOldCopy(t *testing.T) {
	ctx := context.Background()
	at, s := httpsPlace(t), store(t)
	s.Transport = at.transport
	at.publish(offer("fleet", "1.0.0"))
	if err := s.Add(ctx, Index{Name: "corp", URL: at.url}); err != nil {
		t.Fatal(err)
	}
	at.publish(offer("fleet", "1.1.0"))
	found, err := s.Find(ctx, "corp/fleet", "")
	if err != nil || found.Manifest.Version != "1.0.0" {
		t.Fatalf("a fresh copy is not used: %v, %v", found.Manifest, err)
	}
	s.MaxAge = time.Nanosecond
	if found, err = s.Find(ctx, "corp/fleet", ""); err != nil || found.Manifest.Version != "1.1.0" {
		t.Fatalf("an old copy is not fetched again: %v, %v", found.Manifest, err)
	}
	var warnings []string
	s.Warn = func(text string) { warnings = append(warnings, text) }
	s.Transport = unreachable{}
	if found, err = s.Find(ctx, "corp/fleet", ""); err != nil || found.Manifest.Version != "1.1.0" || len(warnings) != 1 {
		t.Errorf("found %v, %v; warnings %v", found.Manifest, err, warnings)
	}
	s.Offline = true
	expect(t, "offline", search(t, s, ""), []string{"corp/fleet@1.1.0"}) // nothing of the default one, which was never fetched
	s.Offline = false
	refused(t, s.Update(ctx, "corp"), protocol.ExitRetryable, "index corp")
	s.Transport = at.transport
	at.publish(map[string][]byte{listName: []byte("kind: Nonsense\n")})
	_, err = s.Find(ctx, "corp/fleet", "")
	refused(t, err, protocol.ExitInvalid, "index corp", "index.yaml:1: kind")
}

// A plugin in two indexes is nobody's to choose.
func TestTwoIndexesOfferOne(t *testing.T) {
	ctx := context.Background()
	s := store(t)
	for _, name := range []string{"corp", "evil"} {
		at := folderPlace(t)
		at.publish(join(offer("fleet", "1.0.0"), offer(name+"-only", "1.0.0")))
		if err := s.Add(ctx, Index{Name: name, URL: at.url}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(context.Background(), DefaultName); err != nil {
		t.Fatal(err)
	}
	_, err := s.Find(ctx, "fleet", "")
	refused(t, err, protocol.ExitInvalid, "several indexes")
	if hint := protocol.HintOf(err); !strings.Contains(hint, "corp/fleet or evil/fleet") {
		t.Errorf("hint %q", hint)
	}
	if found, err := s.Find(ctx, "evil/fleet", ""); err != nil || found.Index.Name != "evil" {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := s.Find(ctx, "corp-only", ""); err != nil || found.Index.Name != "corp" {
		t.Errorf("%v, %v", found, err)
	}
	s.Only = "corp"
	if found, err := s.Find(ctx, "fleet", ""); err != nil || found.Index.Name != "corp" {
		t.Errorf("%v, %v", found, err)
	}
	_, err = s.Find(ctx, "evil/fleet", "")
	refused(t, err, protocol.ExitInvalid, `no index "evil"`)
}

// An index given by its address alone is used with the key that is configured
// for that address.
func TestOnlyByAddress(t *testing.T) {
	ctx := context.Background()
	at, key, s := folderPlace(t), minisignKey(t), store(t)
	at.publish(key.sign(offer("fleet", "1.0.0")))
	if err := s.Add(ctx, Index{Name: "corp", URL: at.url, Key: key.public}); err != nil {
		t.Fatal(err)
	}
	at.publish(offer("fleet", "1.1.0"))
	s.Only = at.url
	_, err := s.Find(ctx, "fleet", "")
	refused(t, err, protocol.ExitFailed, "is not signed")

	other := folderPlace(t)
	other.publish(offer("fleet", "3.0.0"))
	t.Chdir(filepath.Dir(other.url))
	s.Only = "./" + filepath.Base(other.url)
	if found, err := s.Find(ctx, "fleet", ""); err != nil || found.Manifest.Version != "3.0.0" {
		t.Errorf("%v, %v", found.Manifest, err)
	}
	s.Only = "crop"
	_, err = s.Find(ctx, "fleet", "")
	refused(t, err, protocol.ExitInvalid, `no index "crop"`)
}

func TestSettings(t *testing.T) {
	ctx := context.Background()
	s := store(t)
	if indexes, err := s.Indexes(); err != nil || len(indexes) != 1 || indexes[0].URL != DefaultURL {
		t.Fatalf("%v, %v", indexes, err)
	}
	key := ecdsaKey(t, elliptic.P256())
	at := folderPlace(t)
	at.publish(key.sign(offer("fleet", "1.0.0")))
	if err := s.Add(ctx, Index{Name: "corp", URL: at.url, Key: key.public}); err != nil {
		t.Fatal(err)
	}
	indexes, err := s.Indexes()
	if err != nil || len(indexes) != 2 || indexes[1].Key != strings.TrimSpace(key.public) || indexes[1].URL != at.url {
		t.Fatalf("%v, %v", indexes, err)
	}
	refused(t, s.Add(ctx, Index{Name: "corp", URL: at.url}), protocol.ExitInvalid, "index corp already exists")
	refused(t, s.Remove(context.Background(), "crop"), protocol.ExitInvalid, `no index "crop"`)
	refused(t, s.Update(ctx, "crop"), protocol.ExitInvalid, `no index "crop"`)
	refused(t, s.Add(ctx, Index{Name: "../x", URL: "ftp://x", Key: "?"}), protocol.ExitInvalid, "index.name", "index.url", "index.key")
	if err := os.WriteFile(s.settingsFile(), []byte("apiVersion: harmony.nationtech.io/v1\nkind: PluginIndexes\nspec:\n  indexes:\n  - {name: a, ulr: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Indexes()
	refused(t, err, protocol.ExitInvalid, "plugin-indexes.yaml:5: spec.indexes[0].ulr: unknown field, did you mean url?")
}

// Where no copy can be kept, as in a read-only home, the index is used all the
// same; where its versions cannot be remembered it is not.
func TestFoldersThatCannotBeWritten(t *testing.T) {
	ctx := context.Background()
	at, s := gitPlace(t), store(t)
	at.publish(offer("fleet", "1.0.0"))
	s.Only = at.url
	if err := os.WriteFile(s.dirs.cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	s.Warn = func(text string) { warnings = append(warnings, text) }
	if found, err := s.Find(ctx, "fleet", ""); err != nil || found.Manifest.Version != "1.0.0" || len(warnings) != 1 || !strings.Contains(warnings[0], "cannot be kept") {
		t.Errorf("found %v, %v; warnings %q", found.Manifest, err, warnings)
	}
	if err := os.RemoveAll(s.dirs.state); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.dirs.state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Find(ctx, "fleet", "")
	refused(t, err, protocol.ExitFailed, "remember the versions of index")
}

// An address may hold a token, which no message repeats.
func TestErrorsHoldNoAddress(t *testing.T) {
	s := store(t)
	s.Transport = unreachable{}
	err := s.Add(context.Background(), Index{Name: "corp", URL: "https://example.com/index?token=hunter2"})
	refused(t, err, protocol.ExitRetryable, "index corp: fetch index.yaml", "network is unreachable")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
