package edge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// keptTemplate are objects of a chart that stay.
const keptTemplate = `apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shared}
`

func (w *world) remove(want protocol.Outcome) protocol.DeployResult {
	w.t.Helper()
	result, err := w.adapter().Remove(w.t.Context(), w.app, target)
	if err != nil {
		w.t.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if result.Outcome != want || result.Planned != w.dryRun {
		w.t.Fatalf("outcome %s, want %s: %+v", result.Outcome, want, result.Published)
	}
	return result
}

func namesOf(objects []protocol.ObjectRef) string {
	var names []string
	for _, o := range objects {
		names = append(names, o.String())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// status is the first entry of the app's.
func (w *world) status() status.Entry {
	w.t.Helper()
	entries, err := w.adapter().Status(w.t.Context(), w.app, target)
	if err != nil || len(entries) == 0 {
		w.t.Fatalf("status: %v, %v", entries, err)
	}
	return entries[0]
}

func TestTombstone(t *testing.T) {
	w := newWorld(t)
	w.templates["kept.yaml"] = keptTemplate
	w.crds = map[string]string{"crd.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shops.example.com}\n"}
	w.remove(protocol.OutcomeAbsent)
	first := w.deploy(protocol.OutcomePublished)
	w.report("shop-1", "ready", first.Published.Digest, "")
	w.report("shop-2", "ready", first.Published.Digest, "")

	const removed, kept = "configmap/settings deployment.apps/app",
		"configmap/kept customresourcedefinition.apiextensions.k8s.io/shops.example.com namespace/fleet namespace/shared"
	w.dryRun = true
	plan := w.remove(protocol.OutcomePublished)
	if namesOf(plan.Removed) != removed || namesOf(plan.Kept) != kept || !plan.Published.Tombstone {
		t.Errorf("it would remove %s and keep %s", namesOf(plan.Removed), namesOf(plan.Kept))
	}
	w.dryRun = false
	if now := w.deploy(protocol.OutcomeUnchanged); now.Published.Digest != first.Published.Digest {
		t.Fatalf("a dry run published %s", now.Published.Digest)
	}

	w.app.Version = "0.9.0" // that of a branch: an uninstall is no downgrade
	result := w.remove(protocol.OutcomePublished)
	if p := result.Published; !p.Tombstone || p.Image != "" || p.Ready != 0 || p.Total != 2 || p.Devices[0].State != protocol.DeviceBehind || result.PreviousImage != imageOne ||
		namesOf(result.Removed) != removed || namesOf(result.Kept) != kept {
		t.Errorf("no device has seen it: %+v, removed %s, kept %s", p, namesOf(result.Removed), namesOf(result.Kept))
	}
	text := w.file(fileKept)
	if strings.Count(text, "prune: disabled") != 4 || strings.Contains(text, "Deployment") || !strings.HasPrefix(text, "---\napiVersion: v1\nkind: Namespace\n") {
		t.Errorf("it keeps\n%s", text)
	}
	if text := w.file(fileRemoved); strings.Contains(text, "spec") || !strings.Contains(text, "kind: Deployment") || !strings.Contains(text, "namespace: fleet") {
		t.Errorf("it removes\n%s", text)
	}
	if e := w.status(); e.State != "removing" || e.Healthy || e.Message != "the app is gone from 0 of 2 devices, 2 behind" {
		t.Errorf("status %+v", e)
	}

	// A device that was switched off applies it later.
	w.report("shop-1", "gone", "latest@"+result.Published.Digest, "")
	again := w.remove(protocol.OutcomePublished)
	if p := again.Published; !p.Unchanged || p.Digest != result.Published.Digest || p.Ready != 1 || namesOf(again.Removed) != removed || namesOf(again.Kept) != kept {
		t.Errorf("one is rid of it: %+v, removed %s, kept %s", p, namesOf(again.Removed), namesOf(again.Kept))
	}
	w.report("shop-2", "gone", result.Published.Digest, "")
	w.remove(protocol.OutcomeAbsent)
	if e := w.status(); e.State != status.Absent || e.Message != "" {
		t.Errorf("status %+v", e)
	}
}

// The next release takes the tombstone's place, and the next tombstone is another one.
func TestAfterTombstone(t *testing.T) {
	w := newWorld(t)
	w.edge.Reports.Devices = []string{"shop-1"}
	state := w.deploy(protocol.OutcomePublished).Published.Digest
	first := w.remove(protocol.OutcomePublished).Published.Digest
	w.report("shop-1", "gone", first, "")

	back, err := w.adapter().Rollback(t.Context(), w.app, target, "")
	if err != nil || back.Published.Digest != state || back.Published.Tombstone {
		t.Fatalf("rollback to the state before: %+v, %v", back.Published, err)
	}
	if second := w.remove(protocol.OutcomePublished); second.Published.Digest == first || second.Published.Ready != 0 {
		t.Errorf("the report about the first tombstone counts for the second: %+v", second.Published)
	}
	w.next("1.1.0", imageTwo)
	w.dryRun = true
	digest := w.deploy(protocol.OutcomePublished).Published.Digest
	w.dryRun = false
	w.report("shop-1", "ready", digest, "")
	if r := w.deploy(protocol.OutcomeInstalled); r.PreviousImage != "" {
		t.Errorf("a deploy after an uninstall: %+v", r)
	}
	for to, word := range map[string]string{"": "app was uninstalled from group shops", "removed": "was never published"} {
		_, err := w.adapter().Rollback(t.Context(), w.app, target, to)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), word) || strings.Contains(protocol.HintOf(err), "removed") {
			t.Errorf("rollback to %q: %v, hint %q", to, err, protocol.HintOf(err))
		}
	}
}

func TestTombstoneIsAwaited(t *testing.T) {
	w := newWorld(t)
	w.edge.Reports.Devices = []string{"shop-1", "shop-2", "shop-3"}
	w.deploy(protocol.OutcomePublished)
	digest := w.remove(protocol.OutcomePublished).Published.Digest
	w.edge.Reports.Await = protocol.Duration(300 * time.Millisecond)
	w.report("shop-1", "gone", digest, "")
	w.report("shop-2", "ready", digest, "") // by a script that knows no tombstones
	_, err := w.adapter().Remove(t.Context(), w.app, target)
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "the app is gone from 1 of 3 devices, 1 progressing, 1 silent\n  shop-2: progressing") ||
		!strings.Contains(protocol.HintOf(err), "the same uninstall") {
		t.Errorf("%v, hint %q", err, protocol.HintOf(err))
	}
	w.edge.Reports.Await = 0
	if p := w.remove(protocol.OutcomePublished).Published; p.Devices[0].Device != "shop-2" || !strings.Contains(p.Devices[0].Message, "from before there were tombstones") {
		t.Errorf("devices %+v", p.Devices)
	}
	w.report("shop-3", "failed", digest, "a finalizer holds it")
	if _, err := w.adapter().Remove(t.Context(), w.app, target); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "uninstall app from shops: device shop-3 reports that it failed: a finalizer") {
		t.Errorf("one failed: %v", err)
	}
	w.edge.Reports.Await = protocol.Duration(20 * time.Second)
	w.report("shop-2", "gone", digest, "")
	w.report("shop-3", "progressing", digest, "")
	done := time.AfterFunc(300*time.Millisecond, func() { w.report("shop-3", "gone", digest, "") })
	defer done.Stop()
	if r := w.remove(protocol.OutcomeRemoved); r.Published.Ready != 3 {
		t.Errorf("%+v", r.Published)
	}
}

// With a HelmRelease, what goes and what stays is in the chart.
func TestTombstoneOfHelmRelease(t *testing.T) {
	w := newWorld(t)
	w.edge.Form = protocol.EdgeHelmRelease
	w.templates["kept.yaml"], _, _ = strings.Cut(keptTemplate, "---")
	w.publishChart()
	w.deploy(protocol.OutcomePublished)
	r := w.remove(protocol.OutcomePublished)
	if !strings.Contains(namesOf(r.Removed), "deployment.apps/app helmrelease.helm.toolkit.fluxcd.io/app ocirepository.source.toolkit.fluxcd.io/app-") ||
		namesOf(r.Kept) != "configmap/kept namespace/fleet" {
		t.Errorf("removed %s, kept %s", namesOf(r.Removed), namesOf(r.Kept))
	}
	if text := w.file(fileRemoved); strings.Contains(text, "Deployment") || strings.Contains(text, "url:") || !strings.Contains(text, "kind: HelmRelease") {
		t.Errorf("it removes\n%s", text)
	}

	w.templates["kept.yaml"] = keptTemplate
	w.publishChart()
	w.deploy(protocol.OutcomePublished)
	if _, err := w.adapter().Remove(t.Context(), w.app, target); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "Namespace shared") {
		t.Errorf("a chart with a Namespace: %v", err)
	}
}

// What somebody else pushed is left alone.
func TestTombstoneOfForeignState(t *testing.T) {
	w := newWorld(t)
	image, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.push("fleet/edge/groups/shops/app:latest", image)
	if _, err := w.adapter().Remove(t.Context(), w.app, target); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "was not published by harmony for app") {
		t.Errorf("error %v", err)
	}
}
