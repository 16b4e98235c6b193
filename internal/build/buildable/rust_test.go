package buildable

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// underToolchain reports whether a library is one of Rust's own, which stand in
// the image where its toolchain does.
func underToolchain(path string) bool { return strings.Contains(path, "/toolchains/") }

// cargoStandIn is cargo in the stand-in image. This machine's toolchain cannot
// compile for wasm32, so that the client is compiled for the machine itself.
const cargoStandIn = `#!/bin/sh
for arg; do
	shift
	case $arg in --target=wasm32-unknown-unknown) ;; *) set -- "$@" "$arg" ;; esac
done
exec /rust/bin/cargo "$@"
`

// cargoLeptosStandIn does what cargo-leptos is documented to do as far as the
// Dockerfile sees it: the server in target/release, and a site with the client.
const cargoLeptosStandIn = `#!/bin/sh
set -e
[ "$1 $2 $3" = "leptos build --release" ] || { echo "unexpected: $*" >&2; exit 1; }
cargo build --release --package=shop --bin=shop --no-default-features --features=ssr
cargo build --release --package=shop --lib --target-dir=target/front --target=wasm32-unknown-unknown --no-default-features --features=hydrate
mkdir -p "$LEPTOS_SITE_ROOT/$LEPTOS_SITE_PKG_DIR"
echo "client" > "$LEPTOS_SITE_ROOT/$LEPTOS_SITE_PKG_DIR/$LEPTOS_OUTPUT_NAME.js"
cp style/main.scss "$LEPTOS_SITE_ROOT/$LEPTOS_SITE_PKG_DIR/$LEPTOS_OUTPUT_NAME.css"
`

// rustStandIn makes, of this machine's Rust and C linker, an image in the place
// of the one of Rust, with a stand-in for cargo-leptos in it.
func rustStandIn(t *testing.T, b buildkit) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rustc", "--print", "sysroot").Output()
	if err != nil {
		t.Skip("needs rustc")
	}
	sysroot, r := strings.TrimSpace(string(out)), newRootfs(t)
	r.busybox(t)
	for _, program := range []string{"rustc", "cargo"} {
		r.file(t, filepath.Join(sysroot, "bin", program), "/rust/bin/"+program)
		r.libraries(t, filepath.Join(sysroot, "bin", program))
	}
	libraries, err := filepath.Glob(filepath.Join(sysroot, "lib", "*.so*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(libraries, filepath.Join(sysroot, "lib/libLLVM.so.22.1-rust-1.95.0-stable")) {
		if _, err := os.Stat(path); err == nil {
			r.file(t, path, "/rust/lib/"+filepath.Base(path))
		}
	}
	const host = "lib/rustlib/x86_64-unknown-linux-gnu"
	for _, folder := range []string{host + "/lib", host + "/bin/gcc-ld"} {
		r.tree(t, filepath.Join(sysroot, folder), "/rust/"+folder)
	}
	r.file(t, filepath.Join(sysroot, host, "bin/rust-lld"), "/rust/"+host+"/bin/rust-lld")
	addLinker(t, r)
	r.text(t, "usr/local/bin/cargo", cargoStandIn)
	r.text(t, "usr/local/bin/cargo-leptos", cargoLeptosStandIn)
	ref, _ := b.solve(t, r.context(t, "ENV PATH=/usr/local/bin:/rust/bin:/usr/bin:/bin CARGO_HOME=/cargo HOME=/tmp CARGO_NET_OFFLINE=true"), "rust:standin")
	return ref
}

// addLinker adds gcc as far as it links.
func addLinker(t *testing.T, r rootfs) {
	t.Helper()
	for _, program := range []string{"/usr/bin/cc", "/usr/bin/ld", gccTells(t, "-print-prog-name=collect2"), gccTells(t, "-print-prog-name=lto-wrapper")} {
		r.program(t, program)
	}
	for _, file := range []string{
		"crt1.o", "Scrt1.o", "crti.o", "crtn.o", "crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o", "libgcc.a", "libgcc_eh.a", "libgcc_s.so.1",
		"libc.so", "libc.so.6", "libc_nonshared.a", "libm.so.6", "libm.so", "libmvec.so.1", "libutil.a", "librt.a", "libpthread.a", "libdl.a", "liblto_plugin.so", "libgcc_s.so",
	} {
		path := filepath.Clean(gccTells(t, "-print-file-name="+file))
		r.file(t, path, path)
	}
	for _, file := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc_nonshared.a", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libm.so.6", "/lib/x86_64-linux-gnu/libmvec.so.1"} {
		r.file(t, file, file)
	}
}

func gccTells(t *testing.T, question string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "gcc", question).Output()
	if err != nil {
		t.Skip("needs gcc")
	}
	return strings.TrimSpace(string(out))
}

// shopServer listens where LEPTOS_SITE_ADDR says, and serves from the site.
const shopServer = `use std::{env, fs, io::{Read, Write}, net::TcpListener};

fn main() {
    let listener = TcpListener::bind(env::var("LEPTOS_SITE_ADDR").unwrap()).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1024];
        let n = stream.read(&mut request).unwrap();
        let site = env::var("LEPTOS_SITE_ROOT").unwrap();
        let script = format!("{}/{}/{}.js", site, env::var("LEPTOS_SITE_PKG_DIR").unwrap(), env::var("LEPTOS_OUTPUT_NAME").unwrap());
        let body = if request[..n].starts_with(b"GET /js") { fs::read_to_string(script).unwrap() } else { shop::name().to_string() };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body.len(), body).unwrap();
    }
}
`

// TestLeptosImage compiles an application without dependencies with BuildKit,
// on stand-ins for the base images, and runs what comes out, twice: the layer
// with the dependencies stays when a source is edited, and the edit is in the
// program.
func TestLeptosImage(t *testing.T) {
	b := startBuildKit(t)
	rust := rustStandIn(t, b)
	runtime := newRootfs(t)
	base, _ := b.solve(t, runtime.context(t, ""), "cc:standin")
	o := leptosOptions(t, leptosApp, "", map[string]any{"rustImage": rust, "runtimeImage": base, "env": map[string]any{"GREETING": `a "b" $c`}})
	write(t, o.App.ProjectRoot, map[string]string{"src/main.rs": shopServer})
	ref, _ := b.solve(t, contextOf(t, o), "leptos:test")
	pulled := b.pull(t, ref, here())
	config, err := pulled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := config.Config.ExposedPorts["3000/tcp"]; !ok || config.Config.User != "65532:65532" || config.Config.WorkingDir != "/app" || strings.Join(config.Config.Entrypoint, " ") != "/app/shop" {
		t.Errorf("configuration %+v", config.Config)
	}
	_, contents := filesOf(t, pulled)
	runShop(t, contents, config.Config.Env, "shop")

	write(t, o.App.ProjectRoot, map[string]string{"src/lib.rs": "pub fn name() -> &'static str { \"store\" }\n"})
	ref, log := b.solve(t, contextOf(t, o), "leptos:test")
	_, contents = filesOf(t, b.pull(t, ref, here()))
	runShop(t, contents, config.Config.Env, "store")
	if step := regexp.MustCompile(`(?m)^#(\d+) .* RUN cargo build --release`).FindStringSubmatch(log); step == nil || !strings.Contains(log, "\n#"+step[1]+" CACHED\n") {
		t.Errorf("the dependencies were compiled again:\n%s", log)
	}
}

// runShop runs the application as its image would: in its folder, with its
// environment but for the port.
func runShop(t *testing.T, contents map[string][]byte, env []string, want string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if below, ok := strings.CutPrefix(name, "app/"); ok && len(content) > 0 {
			write(t, dir, map[string]string{below: string(content)})
		}
	}
	program := filepath.Join(dir, "shop")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatalf("no program among %d files: %v", len(contents), err)
	}
	address := net.JoinHostPort("127.0.0.1", freePort(t))
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(env, "LEPTOS_SITE_ADDR="+address), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	waitFor(t, "http://"+address)
	for path, want := range map[string]string{"/": want, "/js": "client\n"} {
		if status, body, _ := get(t, "http://"+address+path); status != http.StatusOK || body != want {
			t.Errorf("%s: status %d, %q; want %q", path, status, body, want)
		}
	}
	if !strings.Contains(fmt.Sprint(env), `GREETING=a "b" $c`) {
		t.Errorf("environment %q", env)
	}
}
