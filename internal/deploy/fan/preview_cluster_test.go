package fan

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/flux"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// previews is a target for previews on the test cluster.
type previews struct {
	*deploytest.World
	adapter string
	warned  []string
}

// on makes the adapter as it is on a branch.
func (p *previews) on(branch string, dryRun bool) *fanned {
	p.T.Helper()
	env := capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "office"},
			Targets: map[string]protocol.Target{deploytest.Target: {InCluster: &protocol.InCluster{
				Namespace: p.Namespace + "-{branch}", TTL: protocol.Duration(time.Hour), Preview: &protocol.Preview{Project: p.Namespace, Branch: branch},
			}}},
		},
		Provider: protocol.Provider{Adapter: p.adapter, Settings: p.Settings}, DryRun: dryRun,
		Progress: func(e protocol.Event) { p.T.Logf("%s %s %s", time.Now().Format("05.000"), e.Phase, e.Message) },
	}
	table := map[string]delivery.Constructor{helm.Name: helm.New, flux.Name: flux.New, argocd.Name: argocd.New}
	d, err := Adapters(&Flags{Flags: conn.Flags{Kubeconfig: p.Cluster.Kubeconfig}}, table, edge.New, realChecks)[p.adapter](p.T.Context(), env)
	if err != nil {
		p.T.Fatal(err)
	}
	return d.(*fanned)
}

func (p *previews) deploy(branch string, want protocol.Outcome) {
	p.T.Helper()
	result, err := p.on(branch, false).Deploy(p.T.Context(), p.Spec(), deploytest.Target, p.Image, p.Chart())
	if err != nil || result.Outcome != want {
		p.T.Fatalf("deploy of %s: %s, %v, want %s", branch, result.Outcome, err, want)
	}
}

// expires is when the preview expires, or "" if it does not exist.
func (p *previews) expires(name string) string {
	p.T.Helper()
	n, err := p.Cluster.Client.CoreV1().Namespaces().Get(p.T.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		p.T.Fatal(err)
	}
	return n.Annotations[marks.Expires]
}

func (p *previews) expire(name string) { p.annotate(name, marks.Expires, "2020-01-01T00:00:00Z") }

// annotate changes what the namespace of a preview says.
func (p *previews) annotate(name, key, value string) {
	p.T.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	if _, err := p.Cluster.Client.CoreV1().Namespaces().Patch(p.T.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		p.T.Fatal(err)
	}
}

// removeExpired removes what has expired, from another branch, and returns the names.
func (p *previews) removeExpired(dryRun bool) string {
	p.T.Helper()
	var removed []string
	err := p.on("another", dryRun).RemoveExpired(p.T.Context(), nil, deploytest.Target, func(r protocol.DeployResult) error {
		removed = append(removed, r.Name+" of "+r.Namespace+" "+string(r.Outcome))
		return nil
	}, func(text string) { p.warned = append(p.warned, text) })
	if err != nil {
		p.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	return strings.Join(removed, ", ")
}

func TestPreviews(t *testing.T) {
	t.Parallel()
	for name, constructor := range map[string]delivery.Constructor{helm.Name: helm.New, flux.Name: flux.New, argocd.Name: argocd.New} {
		t.Run(name, func(t *testing.T) {
			w := deploytest.New(t, name, constructor)
			w.Settings["timeout"] = "4m"
			if name == argocd.Name {
				w.Settings["application"] = w.Namespace
			}
			p := &previews{World: w, adapter: name}
			one := w.Namespace + "-one"
			w.Cluster.DeleteNamespace(t, one)
			p.deploy("one", protocol.OutcomeInstalled)
			p.expire(one)
			p.deploy("one", protocol.OutcomeUnchanged)
			if at := p.expires(one); at < "2021" {
				t.Errorf("a release that changed nothing did not renew it: %q", at)
			}
			if removed := p.removeExpired(false); removed != "" || p.expires(one) == "" {
				t.Errorf("not expired, and removed: %s", removed)
			}
			p.expire(one)
			want := "app of " + one + " removed"
			if removed := p.removeExpired(true); removed != want || p.expires(one) == "" {
				t.Errorf("a dry run removed %q, and the namespace", removed)
			}
			if removed := p.removeExpired(false); removed != want || p.expires(one) != "" {
				t.Errorf("removed %q, want %q; expires %q", removed, want, p.expires(one))
			}
		})
	}
}

// An uninstall takes the namespace too, and neither it nor a deploy touches one that
// harmony did not make.
func TestPreviewOfOthers(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	p := &previews{World: w, adapter: helm.Name}
	name := w.Namespace + "-one"
	w.Cluster.DeleteNamespace(t, name)
	p.deploy("one", protocol.OutcomeInstalled)
	result, err := p.on("one", false).Remove(t.Context(), w.Spec(), deploytest.Target)
	if last := len(result.Removed) - 1; err != nil || last < 0 || result.Removed[last].String() != "namespace/"+name || p.expires(name) != "" {
		t.Errorf("uninstall: %+v, %v", result, err)
	}
	theirs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := w.Cluster.Client.CoreV1().Namespaces().Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, deployed := p.on("one", false).Deploy(t.Context(), w.Spec(), deploytest.Target, w.Image, w.Chart())
	_, planned := p.on("one", true).Deploy(t.Context(), w.Spec(), deploytest.Target, w.Image, w.Chart())
	_, removed := p.on("one", false).Remove(t.Context(), w.Spec(), deploytest.Target)
	for _, err := range []error{deployed, planned, removed} {
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "is no preview of target") {
			t.Errorf("in the namespace of somebody: %v", err)
		}
	}
}

// Only what has expired, and what harmony made as a preview of the project, is removed.
func TestExpiredPreviewsOfOthers(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	p := &previews{World: w, adapter: helm.Name}
	for branch, change := range map[string]map[string]string{
		"ours":    {marks.Expires: "2020-01-01T00:00:00Z"},
		"theirs":  {marks.Expires: "2020-01-01T00:00:00Z", marks.Project: "somebody/else"},
		"garbled": {marks.Expires: "2020-01-01"},
		"later":   {},
	} {
		name := w.Namespace + "-" + branch
		w.Cluster.DeleteNamespace(t, name)
		d := p.on(branch, false)
		if err := d.renew(t.Context(), w.Spec(), deploytest.Target); err != nil {
			t.Fatal(err)
		}
		for key, value := range change {
			p.annotate(name, key, value)
		}
	}
	if removed := p.removeExpired(false); removed != "app of "+w.Namespace+"-ours removed" {
		t.Errorf("removed %q", removed)
	}
	for branch, stays := range map[string]bool{"ours": false, "theirs": true, "garbled": true, "later": true} {
		if there := p.expires(w.Namespace+"-"+branch) != ""; there != stays {
			t.Errorf("%s is there: %t, want %t", branch, there, stays)
		}
	}
	if len(p.warned) != 1 || !strings.Contains(p.warned[0], w.Namespace+"-garbled never expires") {
		t.Errorf("warned %q", p.warned)
	}
	if again := p.removeExpired(false); again != "" {
		t.Errorf("again: removed %q", again)
	}
}

// Two machines remove what has expired at the same time: one of them does it.
func TestExpiredRemovedByTwo(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	p := &previews{World: w, adapter: helm.Name}
	one := w.Namespace + "-one"
	w.Cluster.DeleteNamespace(t, one)
	p.deploy("one", protocol.OutcomeInstalled)
	p.expire(one)
	var both sync.WaitGroup
	removed, errs := make([]int, 2), make([]error, 2)
	for i := range removed {
		d := p.on("another", false)
		both.Go(func() {
			errs[i] = d.RemoveExpired(t.Context(), nil, deploytest.Target, func(protocol.DeployResult) error {
				removed[i]++
				return nil
			}, func(string) {})
		})
	}
	both.Wait()
	if err := errors.Join(errs...); err != nil || removed[0]+removed[1] != 1 || p.expires(one) != "" {
		t.Errorf("removed %v, %v", removed, err)
	}
}
