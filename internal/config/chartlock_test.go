package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

const goldenLock = `# Written by 'harmony lock'. A release takes no other bytes for these charts.
apiVersion: harmony.nationtech.io/v1
kind: ChartLock
spec:
  charts:
    - app: cache
      url: oci://registry.example.com/charts/redis
      version: 20.1.0
      digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      images:
        docker.io/library/redis:7.4.1: sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
        quay.io/org/exporter:1.0: sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
    - app: ingress
      url: https://charts.example.com/ingress
      name: ingress-nginx
      version: 4.11.3
      digest: sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
      archive: https://charts.example.com/ingress/ingress-nginx-4.11.3.tgz
      signer: cccccccccccccccccccccccccccccccccccccccc
`

func locked(digit, archive, signer string) protocol.LockedChart {
	if signer != "" {
		signer = strings.Repeat(signer, 40)
	}
	return protocol.LockedChart{Digest: "sha256:" + strings.Repeat(digit, 64), Archive: archive, Signer: signer}
}

func goldenChartLock() config.ChartLock {
	cache := locked("a", "", "")
	cache.Images = map[string]string{"quay.io/org/exporter:1.0": "sha256:" + strings.Repeat("e", 64), "docker.io/library/redis:7.4.1": "sha256:" + strings.Repeat("d", 64)}
	return config.ChartLock{Charts: []config.AppChart{
		{App: "ingress", URL: "https://charts.example.com/ingress", Name: "ingress-nginx", Version: "4.11.3", LockedChart: locked("b", "https://charts.example.com/ingress/ingress-nginx-4.11.3.tgz", "c")},
		{App: "cache", URL: "oci://registry.example.com/charts/redis", Version: "20.1.0", LockedChart: cache},
	}}
}

// The file is sorted, the same each time, and read back.
func TestChartLockIsWritten(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []bool{true, false} {
		if changed, err := goldenChartLock().Write(dir); err != nil || changed != want {
			t.Fatalf("time %d: changed %v, %v", i+1, changed, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, config.LockFile))
	if err != nil || string(text) != goldenLock {
		t.Fatalf("%v\n%s", err, text)
	}
	read, err := config.ReadLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := read.Text(); err != nil || string(again) != goldenLock {
		t.Errorf("%v\n%s", err, again)
	}
	if lock, err := config.ReadLock(t.TempDir()); err != nil || len(lock.Charts) > 0 {
		t.Errorf("without a file: %+v, %v", lock, err)
	}
}

func TestChartLockTellsTheLine(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"not YAML":         {"kind: ChartLock", "kind: [", "harmony.lock:"},
		"another kind":     {"ChartLock", "PluginLock", `harmony.lock:2: kind: "PluginLock" is not a kind of this file`},
		"an unknown field": {"digest: sha256:a", "digset: sha256:a", `harmony.lock:9: spec.charts[0].digset: unknown field, did you mean digest?`},
		"a short digest":   {"sha256:aaaa", "sha256:aaa", "harmony.lock:9: spec.charts[0].digest"},
		"twice":            {"app: ingress", "app: cache", "harmony.lock:13: spec.charts[1].app: charts must be sorted by app, without duplicates"},
		"a range":          {"version: 20.1.0", "version: ^20", "harmony.lock:8: spec.charts[0].version"},
		"a short image":    {"sha256:dddd", "sha256:ddd", "harmony.lock:10: spec.charts[0].images"},
		"plain http":       {"archive: https:", "archive: http:", "harmony.lock:18: spec.charts[1].archive"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.ParseLock("harmony.lock", []byte(strings.Replace(goldenLock, c.from, c.to, 1)))
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(goldenLock))
	f.Add([]byte(""))
	f.Add([]byte("apiVersion: harmony.nationtech.io/v1\nkind: ChartLock\nspec: {charts: [{}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lock, err := config.ParseLock("harmony.lock", text)
		if err != nil {
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Fatalf("status %d: %v", protocol.ExitCode(err), err)
			}
			return
		}
		made, err := lock.Text()
		if err != nil {
			t.Fatalf("what is read cannot be written: %v", err)
		}
		again, err := config.ParseLock("harmony.lock", made)
		if err != nil || len(again.Charts) != len(lock.Charts) {
			t.Fatalf("what is written cannot be read: %v\n%s", err, made)
		}
	})
}

const withCharts = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: cache}
spec:
  chart: {url: oci://registry.example.com/charts/redis, version: 20.1.0}
`

// The lock is in the AppSpec when it is about the chart as harmony.yaml names it.
func TestChartsAreLocked(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		locked   bool
	}{
		"as it is":        {"", "", true},
		"another version": {"20.1.0", "20.2.0", false},
		"another source":  {"registry.example.com", "registry.example.org", false},
		"a keyring":       {"version: 20.1.0", "version: 20.1.0, keyring: keys.gpg", false}, // it was locked without one
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := goldenChartLock().Write(dir); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, config.FileName)
			if err := os.WriteFile(file, []byte(strings.Replace(withCharts, c.from, c.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			project, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			is := project.Apps[0].Chart.Locked
			if (is != nil) != c.locked {
				t.Errorf("locked to %+v", is)
			}
			if err := config.Locked(project.Apps); (err == nil) != c.locked || err != nil && !strings.Contains(err.Error(), "harmony.lock does not have the chart of cache (redis 20.") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLockedIsNotWrittenByHand(t *testing.T) {
	file := filepath.Join(t.TempDir(), config.FileName)
	text := strings.Replace(withCharts, "version: 20.1.0", "version: 20.1.0, locked: {digest: sha256:"+strings.Repeat("a", 64)+"}", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), ":5: spec.chart.locked: does not belong here") {
		t.Errorf("got %v", err)
	}
}
