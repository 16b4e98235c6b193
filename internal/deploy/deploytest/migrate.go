package deploytest

import (
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/migration"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// step is a migration by the test's program, which says something and ends after so many
// seconds with the status.
func step(name, status, after string, env map[string]string) protocol.Migration {
	all := map[string]string{"EXIT": status, "AFTER": after}
	for key, value := range env {
		all[key] = value
	}
	return protocol.Migration{Name: name, Job: protocol.JobSpec{Env: all}}
}

// migrate runs the migrations.
func (w *World) migrate() (protocol.MigrationReport, error) {
	w.T.Helper()
	a, app, image, chart := w.Adapter().(delivery.Adapter), w.Spec(), w.Image, w.Chart()
	start := time.Now()
	report, err := a.Migrate(w.T.Context(), app, Target, image, chart)
	w.T.Logf("migrate: %s in %s: %v", report.Summary, time.Since(start).Round(time.Millisecond), err)
	return report, err
}

// migrates runs the migrations, which have to end so.
func (w *World) migrates(statuses ...protocol.MigrationStatus) protocol.MigrationReport {
	w.T.Helper()
	report, err := w.migrate()
	failed := false
	for i, status := range statuses {
		failed = failed || status == protocol.MigrationFailed
		if len(report.Migrations) != len(statuses) || report.Migrations[i].Status != status {
			w.T.Fatalf("%+v, %v, want %v", report, err, statuses)
		}
	}
	if report.Passed == failed || failed != (protocol.ExitCode(err) == protocol.ExitFailed) {
		w.T.Fatalf("%+v, %v, want %v", report, err, statuses)
	}
	if failed && !strings.Contains(err.Error(), report.Migrations[0].Message) {
		w.T.Errorf("the error does not say %q: %v", report.Migrations[0].Message, err)
	}
	return report
}

// jobs are the Jobs of the namespace.
func (w *World) jobs() []batchv1.Job {
	w.T.Helper()
	list, err := w.Cluster.Client.BatchV1().Jobs(w.Namespace).List(w.T.Context(), metav1.ListOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	return list.Items
}

// record is the ConfigMap that says what has run; nil when there is none.
func (w *World) record() *corev1.ConfigMap {
	w.T.Helper()
	found, err := w.Cluster.Client.CoreV1().ConfigMaps(w.Namespace).Get(w.T.Context(), migration.RecordName(AppName), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.T.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return found
}

// Migrates tests that the adapter runs migrations with the new image while the old one is
// what is deployed, once for a version, that a failed one changes nothing and is tried again,
// and that an uninstall leaves nothing of them.
func (w *World) Migrates() {
	w.T.Helper()
	first := w.Deploy(protocol.OutcomeInstalled)
	w.Version = "1.1.0"
	w.NextImage("1.1.0")
	w.Migrations = []protocol.Migration{step("schema", "0", "0", map[string]string{"SAY": "3 tables changed"})}
	w.DryRun = true
	if report := w.migrates(protocol.MigrationPlanned); !report.Planned || w.record() != nil || len(w.jobs()) != 0 {
		w.T.Errorf("a dry run has changed something: %+v", report)
	}
	w.DryRun = false
	ran := w.migrates(protocol.MigrationDone).Migrations[0]
	if ran.Message != "3 tables changed" || !strings.HasSuffix(ran.Image, "@"+w.Image.Digest) || w.Image.Digest == first.Image {
		w.T.Errorf("ran %+v, want the image %s", ran, w.Image.Digest)
	}
	w.OnlyPodsOf(first.Image, 1)
	if report := w.migrates(protocol.MigrationUnchanged); !report.Unchanged {
		w.T.Errorf("again: %+v", report)
	}
	second := w.Deploy(protocol.OutcomeUpgraded)
	if second.Irreversible != "" {
		w.T.Errorf("irreversible: %q", second.Irreversible)
	}

	w.Version = "1.2.0"
	w.NextImage("1.2.0")
	w.secret("words", "it is s3cret-word, says the database")
	failing := step("schema", "3", "0", nil)
	failing.Job.EnvRefs = map[string]protocol.EnvRef{"SAY": {Secret: "words", Key: "say"}}
	later := step("later", "0", "0", nil)
	later.Irreversible = true
	w.Migrations = []protocol.Migration{failing, later}
	for range 2 {
		failed := w.migrates(protocol.MigrationFailed, protocol.MigrationSkipped).Migrations[0]
		if !strings.HasPrefix(failed.Message, "exit code 3") || !strings.Contains(failed.Message, "***") || strings.Contains(failed.Message, "s3cret") {
			w.T.Errorf("it says %q", failed.Message)
		}
	}
	w.OnlyPodsOf(second.Image, 1)
	w.Migrations[0].Job.Env["EXIT"] = "0"
	w.migrates(protocol.MigrationDone, protocol.MigrationDone)
	if third := w.Deploy(protocol.OutcomeUpgraded); third.Irreversible != "migration later" {
		w.T.Errorf("irreversible: %q", third.Irreversible)
	}
	if jobs := w.jobs(); len(jobs) != 0 {
		w.T.Errorf("%d jobs are left", len(jobs))
	}
	w.forgets()
}

// secret makes a Secret with a text.
func (w *World) secret(name, say string) {
	w.T.Helper()
	_, err := w.Cluster.Client.CoreV1().Secrets(w.Namespace).Create(w.T.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"say": say},
	}, metav1.CreateOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
}

// forgets removes what the migrations have left.
func (w *World) forgets() {
	w.T.Helper()
	if w.record() == nil {
		w.T.Error("there is no record of what has run")
	}
	left, err := w.Adapter().(delivery.Adapter).Forget(w.T.Context(), w.Spec(), Target)
	if err != nil || len(left) != 1 || left[0].Name != migration.RecordName(AppName) || w.record() != nil {
		w.T.Errorf("an uninstall leaves %v, %v", left, err)
	}
	w.NoLease()
}

// MigratesOnce tests that the Job of a run that is killed is waited for by the next ones,
// two of which run at once, and that nothing runs twice.
func (w *World) MigratesOnce() {
	w.T.Helper()
	w.Migrations = []protocol.Migration{step("schema", "0", "8", map[string]string{"SAY": "3 tables changed"}), step("words", "0", "0", nil)}
	w.kill(killed{Migrate: true}, func() { w.awaitJob() })
	made, stop := w.watchJobs()
	var both sync.WaitGroup
	reports, errs := make([]protocol.MigrationReport, 2), make([]error, 2)
	a, app, image, chart := w.Adapter().(delivery.Adapter), w.Spec(), w.Image, w.Chart()
	for i := range reports {
		both.Go(func() { reports[i], errs[i] = a.Migrate(w.T.Context(), app, Target, image, chart) })
	}
	both.Wait()
	stop()
	ran := 0
	for i, report := range reports {
		if errs[i] != nil || !report.Passed {
			w.T.Fatalf("%+v, %v", report, errs[i])
		}
		if !report.Unchanged {
			ran++
		}
		w.T.Logf("%s: %+v", report.Summary, report.Migrations)
	}
	if ran != 1 || len(made) != 2 {
		w.T.Errorf("%d runs did something, with the jobs %v; want one, with two", ran, made)
	}
	if jobs := w.jobs(); len(jobs) != 0 {
		w.T.Errorf("%d jobs are left", len(jobs))
	}
	w.forgets()
}

// awaitJob waits until a Job of the namespace runs.
func (w *World) awaitJob() {
	w.T.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, j := range w.jobs() {
			if j.Status.Active > 0 {
				return
			}
		}
	}
	w.T.Fatal("no job runs")
}

// watchJobs notes the Jobs of the namespace until it is stopped.
func (w *World) watchJobs() (made map[types.UID]string, stop func()) {
	w.T.Helper()
	made = map[types.UID]string{}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			list, err := w.Cluster.Client.BatchV1().Jobs(w.Namespace).List(w.T.Context(), metav1.ListOptions{})
			if err == nil {
				for _, j := range list.Items {
					made[j.UID] = j.Name
				}
			}
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return made, func() { close(ended); <-done }
}
