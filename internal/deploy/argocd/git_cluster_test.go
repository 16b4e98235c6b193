package argocd

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fromGit makes the Application as somebody else would, for a revision.
func (w *argoWorld) fromGit(revision string) {
	w.T.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": w.Namespace},
		"spec": map[string]any{
			"project":     "default",
			"destination": map[string]any{"server": w.Cluster.Rest.Host, "namespace": w.Namespace},
			"source": map[string]any{
				"repoURL": w.Chart().URL, "path": ".", "targetRevision": revision,
				"helm": map[string]any{"releaseName": deploytest.AppName, "valuesObject": w.Values},
			},
			"syncPolicy": map[string]any{"syncOptions": []any{"CreateNamespace=true"}},
		},
	}}
	if _, err := w.applications.Create(w.T.Context(), object, metav1.CreateOptions{}); err != nil {
		w.T.Fatal(err)
	}
}

func TestAnotherOnesApplicationIsRespected(t *testing.T) {
	w := newWorld(t)
	w.fromGit(w.Chart().Digest)
	before := w.application().Object["spec"]
	w.Fails(5*time.Second, protocol.ExitUnsupported, "was made by somebody else")
	if after := w.application().Object["spec"]; !same(before, after) {
		t.Errorf("its spec was %v and is %v", before, after)
	}
}

func TestApplicationFromGit(t *testing.T) {
	w := newWorld(t)
	w.Settings["manage"] = false
	w.Fails(5*time.Second, protocol.ExitUnsupported, "there is no Application")
	w.fromGit(w.Chart().Digest)
	before := w.application().Object["spec"]
	w.Deploy(protocol.OutcomeInstalled)
	w.Deploy(protocol.OutcomeUnchanged)
	if after := w.application().Object["spec"]; !same(before, after) {
		t.Errorf("its spec was %v and is %v", before, after)
	}

	// Git does not want the next one until somebody merges it.
	w.NextImage("1.1.0")
	w.Fails(5*time.Second, protocol.ExitRetryable, "does not want this release yet", w.Chart().Digest)
	w.edit(func(object *unstructured.Unstructured) {
		set(t, object, w.Chart().Digest, "spec", "source", "targetRevision")
	})
	w.Deploy(protocol.OutcomeUpgraded)
}

// A tag means what the registry says it does.
func TestApplicationFromGitByTag(t *testing.T) {
	w := newWorld(t)
	w.Settings["manage"] = false
	w.fromGit("1.0.0")
	w.Deploy(protocol.OutcomeInstalled)
	w.NextImage("1.1.0")
	w.Deploy(protocol.OutcomeUpgraded) // pushing it moved the tag
	w.Deploy(protocol.OutcomeUnchanged)
}
