package deploytest

import (
	"fmt"
	"maps"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The templates of a second component, and of a hook that runs before an upgrade;
// both take their image as it is.
const (
	workerTemplate = `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-worker}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: worker, image: "%s"}]
`
	migrateTemplate = `apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: "%s", env: [{name: EXIT, value: "0"}]}]
`
)

// withImages gives the app a worker and a migration, in images of that tag.
func (w *World) withImages(tag string) {
	w.T.Helper()
	w.NextImage(tag)
	w.Image.Images = map[string]protocol.ImageRef{}
	for name, template := range map[string]string{"worker": workerTemplate, "migrate": migrateTemplate} {
		further := clustertest.Push(w.T, "harmony-test/"+name, tag+"-"+name)
		w.Image.Images[name] = further
		w.Templates[name+".yaml"] = fmt.Sprintf(template, further)
	}
}

// SeveralImages tests that the adapter deploys an app with further images, proves all
// of them, reports them, brings them back, and gives the app back.
func (w *World) SeveralImages() {
	w.T.Helper()
	same := func(what string, got map[string]string, want protocol.ImageRef) {
		w.T.Helper()
		if !maps.Equal(got, want.ImageDigests()) {
			w.T.Errorf("%s: images %v, want %v", what, got, want.ImageDigests())
		}
	}
	w.withImages("1.0.0")
	first := w.Image
	same("installed", w.Deploy(protocol.OutcomeInstalled).Images, first)
	same("unchanged", w.Deploy(protocol.OutcomeUnchanged).Images, first)
	w.withImages("1.1.0")
	same("upgraded", w.Deploy(protocol.OutcomeUpgraded).Images, w.Image)

	adapter := w.Adapter().(delivery.Adapter)
	entries, err := adapter.Status(w.T.Context(), w.Spec(), Target)
	switch {
	case protocol.ExitCode(err) == protocol.ExitUnsupported: // another adapter reports it
	case err != nil || len(entries) != 1 || !entries[0].Healthy:
		w.T.Errorf("status %+v, %v", entries, err)
	default:
		same("status", entries[0].Images, w.Image)
	}
	result, err := adapter.Rollback(w.T.Context(), w.Spec(), Target, "")
	if err != nil || result.Outcome != protocol.OutcomeRolledBack {
		w.T.Fatalf("rollback: %s, %v", result.Outcome, err)
	}
	same("rolled back", result.Images, first)
	for _, want := range []protocol.Outcome{protocol.OutcomeGivenBack, protocol.OutcomeAbsent} {
		if result, err := adapter.GiveBack(w.T.Context(), w.Spec(), Target); err != nil || result.Outcome != want {
			w.T.Errorf("given back: %s, %v, want %s", result.Outcome, err, want)
		}
	}
}
