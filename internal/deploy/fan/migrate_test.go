package fan

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (s *standIn) Migrate(_ context.Context, app protocol.AppSpec, target string, _ protocol.ImageRef, _ protocol.ChartRef) (protocol.MigrationReport, error) {
	f, name := s.fleet, s.env.Cluster
	f.enter(name)
	defer f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	result := protocol.MigrationResult{Name: "schema", Status: protocol.MigrationDone}
	if code := f.bad[name]; code != 0 {
		result.Status, err = protocol.MigrationFailed, &protocol.Error{Code: code, Message: "exit code 3", Hint: "mend it"}
	}
	return protocol.NewMigrationReport(app.Metadata, target, "standin", []protocol.MigrationResult{result}, err), err
}

func (s *standIn) Forget(context.Context, protocol.AppSpec, string) ([]protocol.ObjectRef, error) {
	return []protocol.ObjectRef{{Resource: "configmap", Name: "harmony-migrations-app", Context: s.env.Cluster}}, nil
}

// Clusters are migrated wave by wave, and none after a wave in which one failed; an
// uninstall removes what is left on each. Devices are refused.
func TestMigratesEachCluster(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 6)
	multi := protocol.MultiCluster{Selector: "fleet", Namespace: "fleet", Waves: protocol.Waves(1, 3, "100%"), Parallel: 2, MaxFailures: 5}
	open := f.adapters(kubeconfig)
	opened, err := open(t.Context(), capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"production": {MultiCluster: &multi}, "shops": {EdgeDevice: &protocol.EdgeDevice{}}}},
		Provider: protocol.Provider{Adapter: "standin"}, Progress: f.observe,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := opened.(delivery.Adapter)
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}, Migrations: []protocol.Migration{{Name: "schema"}}}
	migrate := func(target string) (string, error) {
		f.order = nil
		report, err := a.Migrate(t.Context(), app, target, protocol.ImageRef{}, protocol.ChartRef{})
		var list []string
		for _, m := range report.Migrations {
			list = append(list, m.Cluster+" "+string(m.Status))
		}
		return strings.Join(list, ", "), err
	}
	f.bad["c001"] = protocol.ExitRetryable
	got, err := migrate("production")
	if want := "c000 done, c001 failed, c002 done, c003 skipped, c004 skipped, c005 skipped"; got != want || protocol.ExitCode(err) != protocol.ExitRetryable ||
		err.Error() != "c001: exit code 3" || protocol.HintOf(err) != "mend it" {
		t.Errorf("%s, %v", got, err)
	}
	if slices.Sort(f.order); !slices.Equal(f.order, names[:3]) {
		t.Errorf("migrated %v", f.order)
	}
	delete(f.bad, "c001")
	if got, err = migrate("production"); err != nil || strings.Count(got, "done") != 6 || f.most > 2 {
		t.Errorf("%s, %v, %d at once", got, err, f.most)
	}
	if _, err = migrate("shops"); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "is of edge devices") {
		t.Errorf("devices: %v", err)
	}
	result, err := a.Remove(t.Context(), app, "production")
	if err != nil || len(result.Removed) != 6 {
		t.Errorf("an uninstall removes %+v, %v", result.Removed, err)
	}
	if left, err := a.Forget(t.Context(), app, "production"); err != nil || len(left) != 6 {
		t.Errorf("left %+v, %v", left, err)
	}
}
