package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestPublish(t *testing.T) {
	w := newWorld(t)
	w.dryRun = true
	planned := w.deploy(protocol.OutcomePublished)
	if !planned.Planned || planned.Published.Unchanged {
		t.Errorf("plan: %+v", planned)
	}
	w.dryRun = false
	first := w.deploy(protocol.OutcomePublished)
	if first.Image != "" || first.Chart != "" || first.Published.Total != 0 {
		t.Errorf("without a report it claims %+v", first)
	}
	if p := first.Published; p.Image != imageOne || p.Digest != planned.Published.Digest || p.URL != "oci://"+w.host+"/fleet/edge/groups/shops/app:latest" {
		t.Errorf("published %+v, planned %+v", first.Published, planned.Published)
	}

	manifest, err := w.pull("latest").Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Config.MediaType != "application/vnd.cncf.flux.config.v1+json" || len(manifest.Layers) != 1 ||
		manifest.Layers[0].MediaType != "application/vnd.cncf.flux.content.v1.tar+gzip" {
		t.Errorf("manifest %+v", manifest)
	}
	for name, want := range map[string]string{
		"org.opencontainers.image.source": "app", "org.opencontainers.image.revision": "1.0.0@" + w.chart().Digest,
		"org.opencontainers.image.created": "1970-01-01T00:00:00Z", "harmony.nationtech.io/image": imageOne,
	} {
		if got := manifest.Annotations[name]; got != want {
			t.Errorf("annotation %s: %q, want %q", name, got, want)
		}
	}
	if text := w.file(fileApp); !strings.Contains(text, "image: "+w.image.String()) || !strings.Contains(text, "replicas: 2") ||
		strings.Count(text, "namespace: fleet") != 2 || !strings.Contains(text, "kubernetes: v1.33.0") || strings.Index(text, "ConfigMap") > strings.Index(text, "Deployment") {
		t.Errorf("manifests:\n%s", text)
	}
	if text := w.file(fileNamespace); !strings.Contains(text, "prune: disabled") || !strings.Contains(text, "name: fleet") {
		t.Errorf("namespace:\n%s", text)
	}

	again := w.deploy(protocol.OutcomePublished)
	if !again.Published.Unchanged || again.Published.Digest != first.Published.Digest || again.PreviousImage != imageOne {
		t.Errorf("again: %+v", again)
	}
	digest, err := w.pull("1.0.0").Digest()
	if err != nil || digest.String() != first.Published.Digest {
		t.Errorf("tag of the version: %s, %v", digest, err)
	}
}

// The same input is the same digest wherever it is made; other values another.
func TestReproducible(t *testing.T) {
	w := newWorld(t)
	first := w.deploy(protocol.OutcomePublished)
	other := newWorld(t)
	other.host, other.image, other.archives = w.host, w.image, w.archives
	other.topology.OCIRegistry.URL += "/elsewhere"
	time.Sleep(1100 * time.Millisecond) // archives tell whole seconds
	if second := other.deploy(protocol.OutcomePublished); second.Published.Digest != first.Published.Digest {
		t.Errorf("digest %s, want %s", second.Published.Digest, first.Published.Digest)
	}
	w.app.Targets[target].Values["replicas"] = float64(3)
	if second := w.deploy(protocol.OutcomePublished); second.Published.Digest == first.Published.Digest {
		t.Error("other values make the same digest")
	}
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	first := w.deploy(protocol.OutcomePublished)
	digest := first.Published.Digest
	other := "sha256:" + strings.Repeat("0", 64)

	w.report("shop-2", "ready", other, "")
	w.report("shop-1", "ready", "latest@"+digest, "")
	result := w.deploy(protocol.OutcomePublished)
	if p := result.Published; result.Image != "" || p.Ready != 1 || p.Total != 2 || p.Devices[0].Device != "shop-2" || p.Devices[0].State != protocol.DeviceBehind {
		t.Errorf("one is behind: %+v", p)
	}
	w.report("shop-2", "applying", digest, "")
	if p := w.deploy(protocol.OutcomePublished).Published; p.Devices[0].State != protocol.DeviceProgressing {
		t.Errorf("one is at it: %+v", p)
	}
	w.report("shop-2", "ready", digest, "")
	result = w.deploy(protocol.OutcomeUnchanged)
	if result.Image != imageOne || result.Chart != w.chart().Digest || result.Published.Ready != 2 || result.Published.Devices[0].Time != devicestest.Time {
		t.Errorf("all are ready: %+v", result)
	}
	w.report("shop-1", "failed", digest, "one")
	w.report("shop-2", "failed", digest, "two")
	if _, err := w.try(); err == nil || !strings.Contains(err.Error(), "2 devices report that they failed:\n  shop-1: one\n  shop-2: two") {
		t.Errorf("two failed: %v", err)
	}
	w.report("shop-1", "ready", digest, "")
	w.report("shop-2", "failed", digest, "no space\x1b[31m left\non device "+strings.Repeat("x", 999))
	_, err := w.try()
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "device shop-2 reports that it failed: no space[31m left on device") || len(err.Error()) > 500 {
		t.Errorf("one failed: %v", err)
	}
	// What they said is of no account for another state.
	w.next("1.1.0", imageTwo)
	if p := w.deploy(protocol.OutcomePublished).Published; p.Ready != 0 || p.Total != 2 || p.Devices[0].State != protocol.DeviceBehind {
		t.Errorf("another state: %+v", p)
	}
}

func TestAwait(t *testing.T) {
	w := newWorld(t)
	w.edge.Reports.Devices = []string{"shop-1", "shop-2"}
	w.edge.Reports.Await = protocol.Duration(300 * time.Millisecond)
	w.dryRun = true
	digest := w.deploy(protocol.OutcomePublished).Published.Digest
	w.dryRun = false
	w.report("shop-1", "ready", digest, "")
	w.report("shop-9", "ready", digest, "") // nobody asks for it
	_, err := w.try()
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "1 of 2 devices are ready, 1 silent") || !strings.Contains(err.Error(), "shop-2: silent") {
		t.Errorf("one never reported: %v", err)
	}
	w.edge.Reports.Await = protocol.Duration(20 * time.Second)
	done := time.AfterFunc(500*time.Millisecond, func() { w.report("shop-2", "ready", digest, "") })
	defer done.Stop()
	start := time.Now()
	if r := w.deploy(protocol.OutcomeUnchanged); r.Image != imageOne {
		t.Errorf("result %+v", r)
	}
	if took := time.Since(start); took < 400*time.Millisecond || took > 10*time.Second {
		t.Errorf("it waited for %s", took)
	}
	// The first time is an install, the next one an upgrade.
	w.next("1.1.0", imageTwo)
	w.dryRun = true
	digest = w.deploy(protocol.OutcomePublished).Published.Digest
	w.dryRun = false
	w.report("shop-1", "ready", digest, "")
	w.report("shop-2", "ready", digest, "")
	if r := w.deploy(protocol.OutcomeUpgraded); r.PreviousImage != imageOne || r.Image != imageTwo {
		t.Errorf("result %+v", r)
	}
}

// A registry that is away for a while ends no waiting; without waiting it is told.
func TestReportsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	gone := "127.0.0.1:1/reports"
	w.edge.Reports.Registry = gone
	if p := w.deploy(protocol.OutcomePublished).Published; p.Total != 0 || len(w.warnings) != 1 || !strings.Contains(w.warnings[0], gone) {
		t.Errorf("published %+v, warnings %q", p, w.warnings)
	}
	w.edge.Reports.Await = protocol.Duration(1500 * time.Millisecond)
	start := time.Now()
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitRetryable || time.Since(start) < time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	if _, err := w.adapter().Status(t.Context(), w.app, target); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("status: %v", err)
	}
}

func TestDisabledReports(t *testing.T) {
	w := newWorld(t)
	w.edge.Reports.Disabled = true
	digest := w.deploy(protocol.OutcomePublished).Published.Digest
	w.report("shop-1", "ready", digest, "")
	if p := w.deploy(protocol.OutcomePublished).Published; p.Total != 0 {
		t.Errorf("reports are read all the same: %+v", p)
	}
}

func TestStatusAndRollback(t *testing.T) {
	w := newWorld(t)
	one := func() status.Entry {
		t.Helper()
		entries, err := w.adapter().Status(t.Context(), w.app, target)
		if err != nil || len(entries) == 0 {
			t.Fatalf("status: %v %v", entries, err)
		}
		return entries[0]
	}
	if e := one(); e.State != status.Absent || e.Healthy {
		t.Errorf("before the first deploy: %+v", e)
	}
	if _, err := w.adapter().Rollback(t.Context(), w.app, target, ""); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("rollback of nothing: %v", err)
	}
	first := w.deploy(protocol.OutcomePublished).Published.Digest
	if e := one(); e.State != status.Published || e.Healthy || e.Version != "1.0.0" || e.Image != imageOne || e.Message != "no device reports" {
		t.Errorf("nothing reports: %+v", e)
	}
	if _, err := w.adapter().Rollback(t.Context(), w.app, target, ""); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("rollback of the first state: %v", err)
	}
	w.next("1.1.0", imageTwo)
	second := w.deploy(protocol.OutcomePublished).Published.Digest
	w.report("shop-1", "ready", first, "")

	entries, err := w.adapter().Status(t.Context(), w.app, target)
	if err != nil || len(entries) != 2 || entries[1].Device != "shop-1" || entries[1].State != "behind" {
		t.Errorf("one is behind: %+v, %v", entries, err)
	}
	w.dryRun = true
	if r, err := w.adapter().Rollback(t.Context(), w.app, target, ""); err != nil || !r.Planned || r.Version != "1.0.0" {
		t.Errorf("plan of a rollback: %+v, %v", r, err)
	}
	w.dryRun = false
	back, err := w.adapter().Rollback(t.Context(), w.app, target, "")
	if err != nil || back.Outcome != protocol.OutcomeRolledBack || back.Published.Digest != first || back.Version != "1.0.0" || back.Image != imageOne || back.PreviousImage != imageTwo {
		t.Errorf("rollback: %+v, %v", back, err)
	}
	if e := one(); e.State != "ready" || !e.Healthy || e.Version != "1.0.0" {
		t.Errorf("after the rollback: %+v", e)
	}
	forth, err := w.adapter().Rollback(t.Context(), w.app, target, "v1.1.0")
	if err != nil || forth.Outcome != protocol.OutcomePublished || forth.Published.Digest != second || forth.Image != "" {
		t.Errorf("to a version: %+v, %v", forth, err)
	}
	if r, err := w.adapter().Rollback(t.Context(), w.app, target, "1.1.0"); err != nil || !r.Published.Unchanged {
		t.Errorf("to the version that is published: %+v, %v", r, err)
	}
	_, err = w.adapter().Rollback(t.Context(), w.app, target, "7.0.0")
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(protocol.HintOf(err), "1.0.0, 1.1.0") {
		t.Errorf("to an unknown version: %v, hint %q", err, protocol.HintOf(err))
	}
}

func TestDiff(t *testing.T) {
	w := newWorld(t)
	count := func() (made, changed, gone int) {
		t.Helper()
		objects, err := w.adapter().Diff(t.Context(), w.app, target, w.image, w.chart())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			switch {
			case o.Before == nil:
				made++
			case o.After == nil:
				gone++
			case o.Changed():
				changed++
			}
		}
		return made, changed, gone
	}
	if made, changed, gone := count(); made != 3 || changed+gone != 0 {
		t.Errorf("before the first deploy: %d made, %d changed, %d gone", made, changed, gone)
	}
	w.deploy(protocol.OutcomePublished)
	w.next("1.1.0", imageTwo)
	w.templates["app.yaml"], _, _ = strings.Cut(template, "---")
	if made, changed, gone := count(); made != 0 || changed != 1 || gone != 1 {
		t.Errorf("%d made, %d changed, %d gone", made, changed, gone)
	}
}

// A repository that another tool pushed to is told.
func TestForeignState(t *testing.T) {
	w := newWorld(t)
	image, err := random.Image(16, 2)
	if err != nil {
		t.Fatal(err)
	}
	w.push("fleet/edge/groups/shops/app:latest", image)
	if _, err := w.adapter().Diff(t.Context(), w.app, target, w.image, w.chart()); err == nil || !strings.Contains(err.Error(), "not a state that harmony published") {
		t.Errorf("error %v", err)
	}
}

func TestRegistryThatIsAway(t *testing.T) {
	w := newWorld(t)
	w.topology.OCIRegistry.URL = "127.0.0.1:1/fleet"
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("error %v", err)
	}
	w.topology.OCIRegistry = nil
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "edgeDevice.registry") {
		t.Errorf("no registry: %v", err)
	}
}

func TestEncryptedValuesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.app.ProjectRoot = t.TempDir()
	if err := os.WriteFile(filepath.Join(w.app.ProjectRoot, "secrets.yaml"), []byte("sops: {mac: x, lastmodified: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.app.Targets[target] = protocol.TargetValues{ValuesFiles: []string{"secrets.yaml"}}
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "secrets.yaml is encrypted") {
		t.Errorf("error %v, want unsupported", err)
	}
}

func TestKeepsNewer(t *testing.T) {
	w := newWorld(t)
	w.next("1.5.0", imageTwo)
	newer := w.deploy(protocol.OutcomePublished).Published.Digest
	w.next("1.4.0", imageOne)
	_, err := w.try()
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "shops has app 1.5.0, which is newer than 1.4.0") {
		t.Errorf("an older version: %v", err)
	}
	if digest, err := w.pull("latest").Digest(); err != nil || digest.String() != newer {
		t.Errorf("devices follow %s, %v, want that of 1.5.0, %s", digest, err, newer)
	}
	allowed := false
	w.topology.Targets[target] = protocol.Target{EdgeDevice: w.edge, NoDowngrade: &allowed}
	w.deploy(protocol.OutcomePublished)
}
