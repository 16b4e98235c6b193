package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// unreachable is a network that is down.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
}

// What a hostile manifest can say, and what is said of it.
func TestHostileManifests(t *testing.T) {
	platform := func(text string) []byte {
		return []byte(strings.Replace(string(manifest("fleet", "1.0.0", "")), `{os: linux, arch: amd64, uri: "https://example.com/fleet.tar.gz", sha256: "`+fmt.Sprintf("%064d", 0)+`", size: 12}`, text, 1))
	}
	hash := strings.Repeat("a", 64)
	for why, test := range map[string]struct {
		data []byte
		says string
	}{
		"a name that leaves the folder":    {manifest("../fleet", "1.0.0", ""), `"../fleet" is not a plugin's name`},
		"a name that is a folder":          {manifest("..", "1.0.0", ""), "is not a plugin's name"},
		"a version that leaves the folder": {manifest("fleet", "1.0.0/../../../bin", ""), "is not a semantic version"},
		"a version in build metadata":      {manifest("fleet", `"1.0.0+../../x"`, ""), "is not a semantic version"},
		"no version":                       {manifest("fleet", `""`, ""), "is not a semantic version"},
		"a long version":                   {manifest("fleet", "1.0.0-"+strings.Repeat("a", 200), ""), "is not a semantic version"},
		"an unknown field":                 {manifest("fleet", "1.0.0", "  postInstall: rm -rf /\n"), "fleet.yaml:9: spec.postInstall: unknown field"},
		"a field twice":                    {manifest("fleet", "1.0.0", "  protocol: {min: 1, max: 2}\n"), "is set twice"},
		"two documents":                    {append(manifest("fleet", "1.0.0", "---\n"), manifest("shop", "1.0.0", "")...), "contains 2 documents"},
		"no document":                      {[]byte("# nothing\n"), "contains 0 documents"},
		"another kind":                     {[]byte("apiVersion: harmony.nationtech.io/v1\nkind: AppSpec\n"), `"AppSpec" is not a kind of this file`},
		"a bomb of aliases":                {[]byte("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nkind: Plugin\n"), "unknown field"},
		"a large file":                     {bytes.Repeat([]byte("#"), maxManifest+1), "larger than 65536 bytes"},
		"plain http":                       {platform(`{os: linux, arch: amd64, uri: "http://example.com/x", sha256: ` + hash + `, size: 1}`), "http:// is only for this machine"},
		"another scheme":                   {platform(`{os: linux, arch: amd64, uri: "ext::sh -c x", sha256: ` + hash + `, size: 1}`), "platforms[0].uri: contains characters"},
		"javascript":                       {platform(`{os: linux, arch: amd64, uri: "javascript:x", sha256: ` + hash + `, size: 1}`), "must begin with https:// or oci://"},
		"a relative file":                  {platform(`{os: linux, arch: amd64, uri: "file://etc/passwd", sha256: ` + hash + `, size: 1}`), "must be file:/// and an absolute path"},
		"credentials":                      {platform(`{os: linux, arch: amd64, uri: "https://user:hunter2@example.com/x", sha256: ` + hash + `, size: 1}`), "must not contain credentials"},
		"a control character in an uri":    {platform(`{os: linux, arch: amd64, uri: "https://example.com/\e[2J", sha256: ` + hash + `, size: 1}`), "contains characters"},
		"no hash":                          {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", size: 1}`), "platforms[0].sha256"},
		"a short hash":                     {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: abc, size: 1}`), "platforms[0].sha256"},
		"no size":                          {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: ` + hash + `}`), "platforms[0].size"},
		"a negative size":                  {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: ` + hash + `, size: -1}`), "platforms[0].size"},
		"a huge size":                      {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: ` + hash + `, size: 9007199254740992}`), "platforms[0].size"},
		"a binary outside the archive":     {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: ` + hash + `, size: 1, bin: ../../x}`), "platforms[0].bin"},
		"an absolute binary":               {platform(`{os: linux, arch: amd64, uri: "https://example.com/x", sha256: ` + hash + `, size: 1, bin: /bin/sh}`), "platforms[0].bin"},
		"a strange system":                 {platform(`{os: "../x", arch: "amd64\n", uri: "https://example.com/x", sha256: ` + hash + `, size: 1}`), "platforms[0].os"},
		"one platform twice":               {platform(fmt.Sprintf("{os: linux, arch: amd64, uri: \"https://example.com/x\", sha256: %s, size: 1}\n    - {os: linux, arch: amd64, uri: \"https://example.com/y\", sha256: %[1]s, size: 1}", hash)), "second artifact for linux/amd64"},
		"a description of many lines":      {bytes.Replace(manifest("fleet", "1.0.0", ""), []byte("Says hello"), []byte(`"a\nb"`), 1), "one line of at most"},
		"no protocol":                      {bytes.Replace(manifest("fleet", "1.0.0", ""), []byte("{min: 1, max: 1}"), []byte("{min: 2, max: 1}"), 1), "must be a range"},
		"a homepage that is a command":     {manifest("fleet", "1.0.0", "  homepage: 'javascript:alert(1)'\n"), "spec.homepage"},
	} {
		_, err := Parse("fleet.yaml", test.data)
		if err == nil || !strings.Contains(err.Error(), test.says) || exitCode(err) != protocol.ExitInvalid {
			t.Errorf("%s: %v (exit status %d); want %q", why, err, exitCode(err), test.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds a password: %v", why, err)
		}
	}
}

// What an index says cannot move the cursor, colour the screen or turn a line
// around.
func TestControlCharactersAreTakenOut(t *testing.T) {
	data := bytes.Replace(manifest("fleet", "1.0.0", `  description: "a\e[31mb\u009bc\u202ed\nsecond line"
  caveats: "\a\r\0x"
`), []byte("Says hello"), []byte(`"Says \e]0;title\ahello"`), 1)
	m, err := Parse("fleet.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	for field, test := range map[string]struct{ have, want string }{
		"shortDescription": {m.ShortDescription, "Says ]0;titlehello"},
		"description":      {m.Description, "a[31mbcd\nsecond line"},
		"caveats":          {m.Caveats, "x"},
	} {
		if test.have != test.want {
			t.Errorf("%s is %q, want %q", field, test.have, test.want)
		}
	}
}

// A manifest is that of the plugin and the version that its file's name says.
// One that is not spoils itself alone, and never makes way for an older one.
func TestMisplacedManifests(t *testing.T) {
	ctx := context.Background()
	at, s := folderPlace(t), store(t)
	at.publish(map[string][]byte{
		"build.yaml":       manifest("evil", "1.0.0", ""),
		"shop@1.0.0.yaml":  manifest("shop", "2.0.0", ""),
		"fleet.yaml":       manifest("fleet", "../x", ""),
		"fleet@1.0.0.yaml": manifest("fleet", "1.0.0", ""),
		"twice.yaml":       manifest("twice", "1.0.0", ""),
		"twice@1.0.0.yaml": manifest("twice", "1.0.0", ""),
		"good.yaml":        manifest("good", "1.0.0-rc.1", ""),
		"README.md":        []byte("# An index\n"),
	})
	var warnings []string
	s.Warn = func(text string) { warnings = append(warnings, text) }
	s.Only = at.url
	found, err := s.Search(ctx, "")
	if err != nil || len(warnings) != 4 {
		t.Errorf("warnings %q, %v", warnings, err)
	}
	var list []string
	for _, f := range found {
		list = append(list, f.Manifest.Name)
	}
	expect(t, "search", list, []string{"good", "twice"})
	for name, says := range map[string]string{"build": "contains the manifest of evil 1.0.0", "shop": "contains the manifest of shop 2.0.0", "fleet": "is not a semantic version"} {
		_, err := s.Find(ctx, name, "")
		refused(t, err, protocol.ExitInvalid, says)
	}
	if f, err := s.Find(ctx, "fleet", "1.0.0"); err != nil || f.Manifest.Version != "1.0.0" {
		t.Errorf("a version of its own file cannot be had: %v, %v", f.Manifest, err)
	}
	for _, name := range []string{"../good", "good/../x", "", ".", "Good"} {
		_, err := s.Find(ctx, name, "")
		if exitCode(err) != protocol.ExitInvalid {
			t.Errorf("find %q: %v", name, err)
		}
	}
	_, err = s.Find(ctx, "good", "../../x")
	refused(t, err, protocol.ExitInvalid, "is not a semantic version")
}

// A remote index cannot point at what is on this machine.
func TestOnlyLocalIndexesNameLocalFiles(t *testing.T) {
	ctx := context.Background()
	for _, uri := range []string{"file:///etc/passwd", "http://127.0.0.1:6443/x"} {
		files := tree{"fleet.yaml": bytes.ReplaceAll(manifest("fleet", "1.0.0", ""), []byte("https://example.com/fleet.tar.gz"), []byte(uri))}
		for kind, at := range places(t) {
			s := store(t)
			s.Transport = at.transport
			at.publish(files)
			s.Only = at.url
			found, err := s.Find(ctx, "fleet", "")
			if local := kind == "folder" || kind == "git"; local != (err == nil) {
				t.Errorf("%s of %s: %v, %v", uri, kind, found.Manifest, err)
			} else if !local {
				refused(t, err, protocol.ExitInvalid, "a remote index cannot name")
			}
		}
	}
}

// Bombs: more, and larger, than an index has business to be.
func TestBombs(t *testing.T) {
	ctx := context.Background()
	large := map[string][]byte{"fleet.yaml": bytes.Repeat([]byte("# padding\n"), maxManifest/10+1)}
	signature := map[string][]byte{"fleet.yaml": manifest("fleet", "1.0.0", ""), "fleet.yaml.minisig": make([]byte, maxSignature+1)}
	key := minisignKey(t)
	for kind, at := range places(t) {
		s := store(t)
		s.Transport = at.transport
		at.publish(large)
		refused(t, s.Add(ctx, Index{Name: "corp", URL: at.url}), protocol.ExitFailed, "fleet.yaml is larger than 65536 bytes")
		at.publish(signature)
		refused(t, s.Add(ctx, Index{Name: "corp", URL: at.url, Key: key.public}), protocol.ExitFailed, "fleet.yaml.minisig is larger than 8192 bytes")
		if t.Failed() {
			t.Fatal(kind)
		}
	}
	files := tree{}
	for i := range maxFiles {
		files[fmt.Sprintf("p%d.yaml", i)] = nil
	}
	refused(t, files.add("fleet.yaml", nil), protocol.ExitFailed, "more than 8192 files")
	files = tree{}
	for i := range maxTree / maxManifest {
		files[fmt.Sprintf("p%d.yaml", i)] = make([]byte, maxManifest)
	}
	refused(t, files.add("fleet.yaml", []byte("x")), protocol.ExitFailed, "have more than 33554432 bytes in total")
}

// A git repository that is too large is cut off while it is cloned.
func TestGitBomb(t *testing.T) {
	at := gitPlace(t)
	noise := make([]byte, 0, 256<<10)
	for i := 0; len(noise) < cap(noise); i++ {
		noise = append(noise, hashOf(fmt.Append(nil, i))...)
	}
	at.publish(join(offer("fleet", "1.0.0"), tree{"noise.bin": noise}))
	r := repository{address: strings.TrimPrefix(at.url, "git+"), local: true, maxPack: 64}
	_, err := r.read(context.Background(), fetching{})
	refused(t, err, protocol.ExitFailed, "git clone")
	r.maxPack = maxPack
	if files, err := r.read(context.Background(), fetching{}); err != nil || len(files) != 1 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// Links in an index point at what its reader can read.
func TestLinkedManifests(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(secret, []byte("password: hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []place{folderPlace(t), gitPlace(t)} {
		dir := strings.TrimPrefix(at.url, "git+file://")
		if err := os.Symlink(secret, filepath.Join(dir, "fleet.yaml")); err != nil {
			t.Fatal(err)
		}
		if dir != at.url {
			git(t, dir, "add", "--all")
			git(t, dir, "commit", "--quiet", "--message=x")
		}
		err := store(t).Add(context.Background(), Index{Name: "corp", URL: at.url})
		refused(t, err, protocol.ExitFailed, "fleet.yaml is not a regular file")
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// Neither hooks, filters nor submodules of a repository run.
func TestGitRunsNothing(t *testing.T) {
	at := gitPlace(t)
	dir := strings.TrimPrefix(at.url, "git+file://")
	ran := filepath.Join(t.TempDir(), "ran")
	script := []byte("#!/bin/sh\ntouch " + ran + "\n")
	for _, hook := range []string{"post-checkout", "post-upload", "pre-receive", "reference-transaction"} {
		if err := os.WriteFile(filepath.Join(dir, ".git/hooks", hook), script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	templates := t.TempDir()
	if err := os.MkdirAll(filepath.Join(templates, "hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(templates, "hooks/reference-transaction"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_TEMPLATE_DIR", templates)
	git(t, dir, "-c", "core.hooksPath=/dev/null", "config", "filter.evil.smudge", string(script))
	at2 := join(offer("fleet", "1.0.0"), tree{".gitattributes": []byte("* filter=evil\n"), ".gitmodules": []byte("[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c \"touch " + ran + "\"\n")})
	fill(t, dir, at2)
	git(t, dir, "-c", "core.hooksPath=/dev/null", "add", "--all")
	git(t, dir, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message=x")
	if err := os.RemoveAll(ran); err != nil {
		t.Fatal(err)
	}
	if err := store(t).Add(context.Background(), Index{Name: "corp", URL: at.url}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a script of the repository was run")
	}
}

// Addresses that are no index, or that would have git do other things.
func TestAddresses(t *testing.T) {
	for _, address := range []string{
		"", "relative/folder", "ext::sh -c id", "git+ext://x", "--upload-pack=id", "-oProxyCommand=id@host:x", "ssh://-oProxyCommand=id/x",
		"http://example.com/index", "ftp://example.com", "git://example.com/x.git", "git+http://example.com/x", "file://host/x", "oci://", "https://",
		"https://user:hunter2@example.com/x.git", "oci://user:hunter2@example.com/x", "https://example.com/\x1b[2J", "https://user@example.com/tree",
	} {
		if _, err := parseLocation(address); exitCode(err) != protocol.ExitInvalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{
		"/srv/index", "file:///srv/index", "git+file:///srv/index", "https://example.com/index", "https://example.com/x.git", "git+https://example.com/x",
		"git@example.com:team/plugins.git", "ssh://git@example.com:2222/x", "git+ssh://git@example.com/x", "oci://example.com/plugins/index:latest",
	} {
		if _, err := parseLocation(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// An https tree that lies, leads elsewhere, or breaks off.
func TestHostileServers(t *testing.T) {
	ctx := context.Background()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	listed := func(file, hash string) []byte {
		return fmt.Appendf(nil, "apiVersion: harmony.nationtech.io/v1\nkind: PluginIndex\nmetadata: {name: x}\nspec:\n  manifests:\n  - {file: %q, sha256: %s}\n", file, hash)
	}
	answer := func(list []byte, then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/index.yaml") {
				w.Write(list)
				return
			}
			then(w, r)
		}
	}
	m := manifest("fleet", "1.0.0", "")
	for why, test := range map[string]struct {
		handler http.HandlerFunc
		code    int
		says    string
	}{
		"redirect to plain http": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }, 1, "redirects from https:// to http://, which is refused"},
		"redirect to a file": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, 1, "redirects from https:// to file://"},
		"redirects without end": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, 1, "more than 5 times"},
		"no list":               {http.NotFound, 1, "fetch index.yaml: the server returned 404"},
		"a name that leaves":    {answer(listed("../../etc/passwd", hashOf(m)), http.NotFound), 2, "is not the name of a manifest"},
		"a name with a slash":   {answer(listed("x/fleet.yaml", hashOf(m)), http.NotFound), 2, "is not the name of a manifest"},
		"a name in its version": {answer(listed("fleet@1.0.0+..yaml", hashOf(m)), http.NotFound), 2, "is not the name of a manifest"},
		"no hash":               {answer(listed("fleet.yaml", `""`), http.NotFound), 2, "manifests[0].sha256"},
		"a manifest is missing": {answer(listed("fleet.yaml", hashOf(m)), http.NotFound), 1, "fetch fleet.yaml: the server returned 404"},
		"another content":       {answer(listed("fleet.yaml", hashOf(nil)), func(w http.ResponseWriter, _ *http.Request) { w.Write(m) }), 4, "has the hash"},
		"truncated": {answer(listed("fleet.yaml", hashOf(m)), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4096")
			w.Write(m[:20])
		}), 4, "unexpected EOF"},
		"a huge list":   {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxList+1)) }, 1, "index.yaml is larger than"},
		"out of order":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 4, "502"},
		"not for us":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 1, "403"},
		"a page":        {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>hello</html>")) }, 2, "index.yaml"},
		"never the end": {func(w http.ResponseWriter, _ *http.Request) { endless(w) }, 1, "index.yaml is larger than"},
	} {
		t.Run(why, func(t *testing.T) {
			server := httptest.NewTLSServer(test.handler)
			defer server.Close()
			s := store(t)
			s.Transport = server.Client().Transport
			refused(t, s.Add(ctx, Index{Name: "corp", URL: server.URL}), test.code, test.says)
		})
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	refused(t, store(t).Add(ctx, Index{Name: "corp", URL: server.URL}), protocol.ExitFailed, "certificate")
}

func endless(w http.ResponseWriter) {
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// An OCI artifact whose layers are named as no manifest is.
func TestHostileArtifacts(t *testing.T) {
	ctx := context.Background()
	for _, file := range []string{"../../fleet.yaml", "/fleet.yaml", "x/fleet.yaml", "", "FLEET.yaml", "fleet.yaml\x00.yaml", "fleet@../1.yaml"} {
		at := ociPlace(t)
		at.publish(map[string][]byte{file: manifest("fleet", "1.0.0", "")})
		refused(t, store(t).Add(ctx, Index{Name: "corp", URL: at.url}), protocol.ExitFailed, "is not the name of a manifest")
	}
	u, err := url.Parse(ociPlace(t).url)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, store(t).Add(ctx, Index{Name: "corp", URL: "oci://" + u.Host + "/nothing:here"}), protocol.ExitFailed, "does not exist")
	refused(t, store(t).Add(ctx, Index{Name: "corp", URL: "oci://127.0.0.1:1/nothing"}), protocol.ExitRetryable, "index corp")
}

// Whatever is in a file, it is read or refused, and what is read is whole.
func FuzzParse(f *testing.F) {
	f.Add(manifest("fleet", "1.0.0", ""))
	f.Add([]byte("a: &a [*a]\nkind: Plugin"))
	f.Add([]byte("kind: Plugin\nspec: {platforms: [{os: \"\\e\"}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse("fuzz.yaml", data)
		if err != nil {
			return
		}
		if !protocol.ValidName(m.Name) || !artifact.ValidVersion(m.Version) || len(m.Platforms) == 0 {
			t.Errorf("%q is read as %+v", data, m)
		}
		text, err := config.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse("again.yaml", text); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("%q is written as %q: %v", data, text, err)
		}
	})
}

// FuzzName holds the names of files to one form.
func FuzzName(f *testing.F) {
	for _, file := range []string{"fleet.yaml", "fleet@1.4.0.yaml", "../x.yaml", "fleet@1.0.0+a.b.yaml", "index.yaml", "a@.yaml"} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		if belongs(file) && (filepath.Base(file) != file || !printable(file) || strings.ContainsAny(file, "/\\ ")) {
			t.Errorf("%q is taken for a manifest", file)
		}
		if err := (tree{}).add(file, nil); (err == nil) != belongs(file) {
			t.Errorf("%q is added to the files of an index: %v", file, err)
		}
	})
}
