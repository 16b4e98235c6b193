package helm

import (
	"maps"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// written is a storage that notes which revisions are written to.
type written struct {
	driver.Driver
	revisions []int
}

func (w *written) Update(key string, r *release.Release) error {
	w.revisions = append(w.revisions, r.Version)
	return w.Driver.Update(key, r)
}

// A release that is given back has nothing of harmony's in any revision, whatever the
// record was of. The newest revision loses it last.
func TestUnmark(t *testing.T) {
	w := &written{Driver: driver.NewMemory()}
	d := &deployment{config: &action.Configuration{Releases: storage.Init(w)}}
	d.App.Name = "app"
	for i, r := range []record{
		{},
		{chart: "sha256:aa", values: "sha256:dd"},
		{chart: "sha256:aa", image: "sha256:bb", values: "sha256:dd"},
		{chart: "sha256:aa", image: "sha256:bb", images: "worker=sha256:cc", values: "sha256:dd"},
	} {
		annotations, description := map[string]string{"team": "a"}, "Upgrade complete"
		if r != (record{}) {
			r.write(annotations)
			description = describedByUs + description
		}
		made := &release.Release{
			Name: "app", Namespace: "fleet", Version: i + 1, Info: &release.Info{Status: release.StatusSuperseded, Description: description},
			Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "app", Version: "1.0.0", Annotations: annotations}},
		}
		if err := d.config.Releases.Create(made); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.unmark(t.Context()); err != nil {
		t.Fatal(err)
	}
	history, err := d.history()
	if err != nil || len(history) != 4 {
		t.Fatalf("%d revisions, %v", len(history), err)
	}
	for _, r := range history {
		left := r.Chart.Metadata.Annotations
		if isOurs(r) || !maps.Equal(left, map[string]string{"team": "a"}) || r.Info.Description != "Upgrade complete" {
			t.Errorf("revision %d: %q, %v", r.Version, r.Info.Description, left)
		}
	}
	if !slices.Equal(w.revisions, []int{2, 3, 4}) {
		t.Errorf("written: revisions %v", w.revisions)
	}
}
