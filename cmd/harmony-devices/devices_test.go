package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

// asCommand has the test's binary be the command.
const asCommand = "HARMONY_DEVICES_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		ctx, stop := signals.Context(context.Background())
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const topology = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: operator}
spec:
  image: {dockerfile: {path: Dockerfile}}
  chart: {path: chart, image: {value: image}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: ci}
spec:
  ociRegistry: {adapter: oci, url: registry.example.com/fleet}
  continuousDelivery: {adapter: helm}
  targets:
    cloud: {inCluster: {namespace: fleet}}
    kiosk: {edgeDevice: {device: kiosk-7, namespace: fleet}}
    shops: {edgeDevice: {group: shops, namespace: fleet, rings: [{labels: {tier: canary}}, 30%, 100%]}}
`

func TestRegister(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "harmony.yaml")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"by its place": {[]string{"shop-1", "--target", "shops"}, 0, []string{
			"operator  30%   oci://registry.example.com/fleet/edge/groups/shops/operator:ring-2  oci://registry.example.com/fleet/edge-reports/groups/shops/operator:shop-1",
		}},
		"the last ring":    {[]string{"shop-2", "--target", "shops"}, 0, []string{"operator  100%  ", "operator:latest"}},
		"by its labels":    {[]string{"shop-2", "--target", "shops", "--labels", "tier=canary"}, 0, []string{"tier=canary", "operator:ring-1"}},
		"one device":       {[]string{"kiosk-7", "--target", "kiosk"}, 0, []string{"operator  -  ", "edge/devices/kiosk-7/operator:latest"}},
		"another device":   {[]string{"kiosk-8", "--target", "kiosk"}, protocol.ExitInvalid, []string{"is of the device kiosk-7"}},
		"no device target": {[]string{"shop-1", "--target", "cloud"}, protocol.ExitUnsupported, []string{"not an edgeDevice"}},
		"no such target":   {[]string{"shop-1", "--target", "x"}, protocol.ExitUnsupported, []string{"(has kiosk, shops)"}},
		"no target":        {[]string{"shop-1"}, protocol.ExitInvalid, []string{"--target: kiosk, shops"}},
		"no name":          {[]string{"Shop_1", "--target", "shops"}, protocol.ExitInvalid, []string{"not a device's name"}},
		"no label":         {[]string{"shop-1", "--target", "shops", "--labels", "canary"}, protocol.ExitInvalid, []string{`"canary" is not a label`}},
		"no such app":      {[]string{"shop-1", "web", "--target", "shops"}, protocol.ExitInvalid, []string{"web"}},
		"no device":        {nil, protocol.ExitInvalid, []string{"arg"}},
		"no such output":   {[]string{"shop-1", "-o", "yaml"}, protocol.ExitInvalid, []string{"text, json"}},
	} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"register", "--file", file, "--topology", "ci"}, c.args...), &out, &out)
		for _, words := range c.says {
			if code != c.code || !strings.Contains(out.String(), words) {
				t.Errorf("%s: status %d, want %d with %q:\n%s", name, code, c.code, words, out.String())
			}
		}
	}
	var out bytes.Buffer
	var found []registration
	run(t.Context(), []string{"register", "shop-1", "--file", file, "--topology", "ci", "--target", "shops", "-o", "json"}, &out, &out)
	if err := json.Unmarshal(out.Bytes(), &found); err != nil || len(found) != 1 || found[0].Tag != "ring-2" || found[0].Group != "shops" {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

func TestServeRefuses(t *testing.T) {
	folder := t.TempDir()
	a := devicestest.NewAuthority(t)
	a.Write(folder, a.Server())
	at := func(name string) string { return filepath.Join(folder, name) }
	if err := os.WriteFile(at("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change map[string]string
		code   int
		says   string
	}{
		"a file that is not there": {map[string]string{"--cert": at("none")}, protocol.ExitInvalid, "none"},
		"no key":                   {map[string]string{"--key": at("empty")}, protocol.ExitInvalid, "--cert and --key"},
		"no authority":             {map[string]string{"--client-ca": at("empty")}, protocol.ExitInvalid, "has no certificate in PEM"},
		"no registry":              {map[string]string{"--reports": "https://x"}, protocol.ExitInvalid, "--reports"},
		"no address":               {map[string]string{"--addr": "x"}, protocol.ExitFailed, "--addr"},
	} {
		flags := map[string]string{"--cert": at("own.crt"), "--key": at("own.key"), "--client-ca": at("ca.crt"), "--reports": "localhost:1/reports", "--addr": "127.0.0.1:0"}
		args := []string{"serve"}
		for flag, value := range flags {
			if changed, ok := c.change[flag]; ok {
				value = changed
			}
			args = append(args, flag, value)
		}
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if code := run(ctx, args, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", name, code, c.code, c.says, out.String())
		}
		cancel()
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"serve"}, &out, &out); code != protocol.ExitInvalid || !strings.Contains(out.String(), "--cert is required") {
		t.Errorf("without flags: status %d:\n%s", code, out.String())
	}
}

// start runs the collector as a process, and returns where it listens.
func start(t *testing.T, folder, reports string) (*exec.Cmd, string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(folder, name) }
	cmd := exec.Command(os.Args[0], "serve", "--addr", "127.0.0.1:0", "--cert", at("own.crt"), "--key", at("own.key"), "--client-ca", at("ca.crt"), "--reports", reports)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(stderr)
	line, err := lines.ReadString('\n')
	found := regexp.MustCompile(`takes reports at (\S+) for`).FindStringSubmatch(line)
	if err != nil || found == nil {
		t.Fatalf("%q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return cmd, found[1]
}

// kills is how often the collector is killed.
const kills = 5

// Whenever the collector is killed, the registry has what was acknowledged, and the next
// one goes on.
func TestKilledCollector(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reports := strings.TrimPrefix(server.URL, "http://") + "/reports"
	folder := t.TempDir()
	a := devicestest.NewAuthority(t)
	a.Write(folder, a.Server())
	last := map[string]string{} // by device: the digest of its last report that was acknowledged
	for round := range kills {
		cmd, address := start(t, folder, reports)
		var mu sync.Mutex
		var sending sync.WaitGroup
		for i := range 8 {
			device := fmt.Sprintf("shop-%d-%d", round, i)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
				RootCAs: a.Pool(), Certificates: []tls.Certificate{a.Device(device, time.Now().Add(time.Hour), "shops")},
			}}}
			sending.Go(func() {
				for n := 0; ; n++ {
					digest := fmt.Sprintf("sha256:%064d", n)
					status, err := put(client, "https://"+address+"/v1/groups/shops/app/"+device, `{"revision":"`+digest+`","state":"ready"}`)
					if err != nil {
						return
					}
					if status == http.StatusNoContent {
						mu.Lock()
						last[device] = digest
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(time.Duration(100+150*round) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		sending.Wait()
	}
	if len(last) < kills {
		t.Fatalf("only %d devices were acknowledged", len(last))
	}
	for device, digest := range last {
		if got := stored(t, reports+"/groups/shops/app:"+device); got < digest { // a later one may not have been acknowledged
			t.Errorf("%s: %s was acknowledged, and %q is stored", device, digest, got)
		}
	}
	cmd, _ := start(t, folder, reports)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func put(client *http.Client, url, body string) (int, error) {
	request, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// stored is the digest that the report under a tag is about.
func stored(t *testing.T, reference string) string {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref)
	if err != nil {
		t.Error(err)
		return ""
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Annotations["org.opencontainers.image.revision"]
}
