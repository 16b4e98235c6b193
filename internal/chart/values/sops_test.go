package values

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

const secretValues = "db:\n  user: app\n  password: correct-horse-battery\n  port: 15432\n  pin: 73\n  tls: true\nlist: [{token: tok-list-0815}, plain]\nkey: |\n  first line of a key\n  second line of a key\n"

// withSOPS puts the real sops on PATH, with a new age key, and returns a function that
// encrypts.
func withSOPS(t *testing.T) (encrypt func(format, text string) string) {
	t.Helper()
	s := clustertest.NewSOPS(t)
	t.Setenv("PATH", filepath.Dir(s.Program))
	t.Setenv("SOPS_AGE_KEY_FILE", s.KeyFile)
	return func(format, text string) string { return s.Encrypt(t, format, text) }
}

// project is an app whose target takes the files, in the order given: name, content.
func project(t *testing.T, files ...string) protocol.AppSpec {
	t.Helper()
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}, ProjectRoot: t.TempDir()}
	var names []string
	for i := 0; i < len(files); i += 2 {
		names = append(names, files[i])
		if err := os.WriteFile(filepath.Join(app.ProjectRoot, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app.Targets = map[string]protocol.TargetValues{"t": {ValuesFiles: names}}
	return app
}

func TestEncryptedFile(t *testing.T) {
	encrypt := withSOPS(t)
	app := project(t, "plain.yaml", "db: {host: db, user: nobody}\n", "secrets.yaml", encrypt("yaml", secretValues),
		"secrets.json", encrypt("json", `{"json": {"token": "tok-json-4711", "n": 12345678}}`), "last.yaml", "db: {user: last}\n")
	set, err := Of(t.Context(), app, "t")
	if err != nil {
		t.Fatal(err)
	}
	db, _ := set.All["db"].(map[string]any)
	json, _ := set.All["json"].(map[string]any)
	if db["password"] != "correct-horse-battery" || db["host"] != "db" || db["user"] != "last" || db["tls"] != true || fmt.Sprint(db["port"]) != "15432" || json["token"] != "tok-json-4711" || set.All["sops"] != nil {
		t.Errorf("values %v", set.All)
	}
	if len(set.Encrypted) != 2 || !set.IsSecret() {
		t.Errorf("encrypted: %v, secret: %t", set.Encrypted, set.IsSecret())
	}

	again, err := Of(t.Context(), app, "t")
	if err != nil || again.Digest != set.Digest {
		t.Errorf("digest %s, then %s, %v", set.Digest, again.Digest, err)
	}
	if bare, _ := Digest(set.All); set.Digest == bare {
		t.Error("the digest is a hash of the secrets")
	}
	if err := os.WriteFile(filepath.Join(app.ProjectRoot, "secrets.yaml"), []byte(encrypt("yaml", strings.Replace(secretValues, "correct", "another", 1))), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := Of(t.Context(), app, "t"); err != nil || changed.Digest == set.Digest {
		t.Errorf("a changed secret has the same digest, %v", err)
	}
}

func TestStandIns(t *testing.T) {
	encrypt := withSOPS(t)
	app := project(t, "secrets.yaml", encrypt("yaml", secretValues))
	t.Setenv("PATH", "") // no sops is needed
	set, err := StandIns(app, "t")
	if err != nil {
		t.Fatal(err)
	}
	db, _ := set.All["db"].(map[string]any)
	if db["password"] != "encrypted" || db["port"] != int64(1) || db["tls"] != true || strings.Contains(fmt.Sprint(set.All), "ENC[") {
		t.Errorf("values %v", set.All)
	}
	_, err = InClear(app, "t", "an Argo CD Application")
	refusal(t, err, protocol.ExitUnsupported, "secrets.yaml", "Argo CD", "in the clear")
	if protocol.HintOf(err) == "" {
		t.Error("no hint")
	}
}

// Of a revision's values, only what the project has in the clear is not secret.
func TestSecretly(t *testing.T) {
	app := project(t, "values.yaml", "db: {host: db.example.com, port: 15432}\n")
	set := Secretly(app, "t", map[string]any{"db": map[string]any{"host": "db.example.com", "password": "hunter2-hunter2"}, "list": []any{"tok-list-0815"}})
	const text = "db.example.com refuses hunter2-hunter2 and tok-list-0815"
	if got := set.Mask(text); got != "db.example.com refuses *** and ***" || !set.IsSecret() {
		t.Errorf("%q", got)
	}
	app.Targets["t"] = protocol.TargetValues{ValuesFiles: []string{"absent.yaml"}}
	if got := Secretly(app, "t", set.All).Mask(text); got != "*** refuses *** and ***" {
		t.Errorf("without the project: %q", got)
	}
}

func refusal(t *testing.T, err error, code int, words ...string) {
	t.Helper()
	if protocol.ExitCode(err) != code {
		t.Errorf("error %v has status %d, want %d", err, protocol.ExitCode(err), code)
	}
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func TestFilesThatCannotBeDecrypted(t *testing.T) {
	encrypt := withSOPS(t)
	text := encrypt("yaml", secretValues)
	app := project(t, "secrets.yaml", text)
	of := func(app protocol.AppSpec) error {
		t.Helper()
		set, err := Of(t.Context(), app, "t")
		if err == nil || protocol.HintOf(err) == "" {
			t.Errorf("error %v with hint %q, values %v", err, protocol.HintOf(err), set.All)
		}
		for _, secret := range []string{"correct-horse", "15432", "tok-list"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("error %q tells a secret", err)
			}
		}
		return err
	}
	changed := strings.Replace(text, "lastmodified: \"2", "lastmodified: \"1", 1)
	refusal(t, of(project(t, "secrets.yaml", changed)), protocol.ExitInvalid, "secrets.yaml")
	at := strings.Index(text, "password: ENC[AES256_GCM,data:") + len("password: ENC[AES256_GCM,data:")
	damaged := text[:at] + "AAAA" + text[at+4:]
	refusal(t, of(project(t, "secrets.yaml", damaged)), protocol.ExitInvalid, "secrets.yaml")

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Of(cancelled, app, "t"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want cancelled", err)
	}

	t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(t.TempDir(), "absent"))
	refusal(t, of(app), protocol.ExitUnsupported, "secrets.yaml", "no key")
	t.Setenv("PATH", t.TempDir())
	refusal(t, of(app), protocol.ExitUnsupported, "secrets.yaml", "no sops on PATH")
}

// A sops that prints secrets and fails does not have them shown.
func TestOutputOfSOPSIsNotShown(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'password: hunter2-hunter2'\necho 'value hunter2-hunter2' >&2\nexit 25\n"
	if err := os.WriteFile(filepath.Join(dir, "sops"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := Of(t.Context(), project(t, "s.yaml", "sops: {mac: x, lastmodified: y}\n"), "t")
	refusal(t, err, protocol.ExitInvalid, "s.yaml")
	if err == nil || strings.Contains(err.Error()+protocol.HintOf(err), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestMask(t *testing.T) {
	secret := "p<a>ss\"word-77"
	key := "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEAAkEA\nq7BFUpkGp3+LQmlQ\n-----END KEY-----\n"
	set := Set{masks: newMasks([]string{secret, key, "15432", "73", "x"})}
	for _, form := range []string{secret, strconv.Quote(secret), base64.StdEncoding.EncodeToString([]byte(secret)), key, strings.ReplaceAll(key, "\n", " "), key[:50], "15432", "pin=73", "is x."} {
		text := set.Mask("before " + form + " after 1730 box")
		for _, left := range []string{"p<a>ss", "77", "MIIB", "q7BF", "15432", "=73", " x."} {
			if strings.Contains(text, left) {
				t.Errorf("%q left of %q: %q", left, form, text)
			}
		}
		if !strings.HasPrefix(text, "before ") || !strings.HasSuffix(text, " after 1730 box") {
			t.Errorf("too much is masked of %q: %q", form, text)
		}
	}
	err := set.Masked(fmt.Errorf("with: %w", protocol.Invalid("value %q: %w", secret, os.ErrInvalid).WithHint("not %s", secret)))
	refusal(t, err, protocol.ExitInvalid, "***")
	if !errors.Is(err, os.ErrInvalid) || strings.Contains(err.Error()+protocol.HintOf(err), "word-77") {
		t.Errorf("error %v, hint %s", err, protocol.HintOf(err))
	}
	if plain := (Set{}); plain.Mask("x") != "x" || plain.Masked(os.ErrInvalid) != os.ErrInvalid {
		t.Error("a set without secrets masks something")
	}
}

// FuzzEncrypted has no file cause a panic, and none that is told to be encrypted leave
// what SOPS encrypted, or its metadata, in the values.
func FuzzEncrypted(f *testing.F) {
	for _, seed := range []string{
		"a: 1\n", "sops: {mac: x}\n", "sops: {mac: ENC[AES256_GCM,data:x,type:str], lastmodified: y}\na: ENC[AES256_GCM,data:x,iv:y,tag:z,type:int]\n",
		`{"sops": {"mac": "x", "lastmodified": 1}, "a": ["ENC[AES256_GCM,]", null, 1e3]}`, "sops: [mac, lastmodified]\n", "sops:\n", "- a\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := parse("x", data)
		if err != nil || !read.encrypted {
			return
		}
		if read.values[metadataKey] != nil {
			t.Error("the metadata is left")
		}
		made := standIns(read.values)
		for _, text := range scalars(nil, made) {
			if isCiphertext(text) {
				t.Errorf("%q is left", text)
			}
		}
		_ = Set{masks: newMasks(scalars(read.values, made))}.Mask(string(data))
	})
}
