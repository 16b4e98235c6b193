package job_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestNew(t *testing.T) {
	user := int64(1000)
	spec := protocol.JobSpec{
		Command: []string{"/check"}, Args: []string{"--quick"}, Env: map[string]string{"PRICE": "$(HOME)", "A": "b"},
		EnvRefs:            map[string]protocol.EnvRef{"URL": {Secret: "db", Key: "url"}, "MODE": {ConfigMap: "shop", Key: "mode", Optional: true}},
		EnvFrom:            []protocol.EnvFrom{{Secret: "all", Prefix: "X_"}, {ConfigMap: "more", Optional: true}},
		Resources:          &protocol.Resources{Limits: map[string]string{"memory": "1Gi"}},
		ServiceAccountName: "checker", RunAsUser: &user,
	}
	place := job.Place{Namespace: "fleet", App: "shop", Check: "orders are in order!", Image: "r/shop@sha256:x", Deadline: 90 * time.Second}
	made, err := job.New(spec, place)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"backoffLimit":0`, `"activeDeadlineSeconds":91`, `"ttlSecondsAfterFinished":300`, `"harmony.nationtech.io/app":"shop"`, `"harmony.nationtech.io/check-name":"orders are in order!"`,
		`"restartPolicy":"Never"`, `"serviceAccountName":"checker"`, `"automountServiceAccountToken":true`, `"seccompProfile":{"type":"RuntimeDefault"}`,
		`"image":"r/shop@sha256:x","command":["/check"],"args":["--quick"]`, `{"name":"A","value":"b"},{"name":"PRICE","value":"$$(HOME)"}`,
		`{"name":"URL","valueFrom":{"secretKeyRef":{"name":"db","key":"url"`, `{"name":"MODE","valueFrom":{"configMapKeyRef":{"name":"shop","key":"mode","optional":true}}}`,
		`{"prefix":"X_","secretRef":{"name":"all"`, `"configMapRef":{"name":"more","optional":true}`,
		`"limits":{"memory":"1Gi"},"requests":{"cpu":"50m","memory":"1Gi"}`, `"runAsUser":1000,"runAsNonRoot":true,"allowPrivilegeEscalation":false`, `"drop":["ALL"]`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(string(text), "app.kubernetes.io/instance") {
		t.Error("a Service of the app could select the pod")
	}
	again, err := job.New(spec, place)
	other := place
	other.Image = "r/shop@sha256:y"
	next, otherErr := job.New(spec, other)
	if err != nil || otherErr != nil || again.Name != made.Name || next.Name == made.Name || len(made.Name) > 63 || !strings.HasPrefix(made.Name, "shop-check-") {
		t.Errorf("names %s, %s, %s (%v, %v)", made.Name, again.Name, next.Name, err, otherErr)
	}
	if _, err := job.New(protocol.JobSpec{Resources: &protocol.Resources{Requests: map[string]string{"cpu": "much"}}}, place); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("quantity: %v", err)
	}
}

func TestHeld(t *testing.T) {
	for name, c := range map[string]struct {
		status, want string
		grace        time.Duration
	}{
		"runs":           {`{"containerStatuses":[{"name":"job","state":{"running":{}}}]}`, "", 0},
		"is made":        {`{"containerStatuses":[{"name":"job","state":{"waiting":{"reason":"ContainerCreating"}}}]}`, "", 0},
		"no node":        {`{"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/1 nodes are available"}]}`, "pod p has no node: 0/1 nodes are available", 20 * time.Second},
		"no image":       {`{"containerStatuses":[{"name":"job","image":"r/x:1","state":{"waiting":{"reason":"ErrImagePull","message":"r/x:1: not found"}}}]}`, "pod p: ErrImagePull: r/x:1: not found", 0},
		"no registry":    {`{"containerStatuses":[{"name":"job","image":"r/x:1","state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}}]}`, "pod p: ImagePullBackOff: Back-off pulling image", 30 * time.Second},
		"a name's words": {`{"containerStatuses":[{"name":"job","image":"r/denied:1","state":{"waiting":{"reason":"ErrImagePull","message":"r/denied:1: connection lost"}}}]}`, "pod p: ErrImagePull: r/denied:1: connection lost", 30 * time.Second},
		"no Secret":      {`{"containerStatuses":[{"name":"job","state":{"waiting":{"reason":"CreateContainerConfigError","message":"secret \"db\" not found"}}}]}`, `pod p: CreateContainerConfigError: secret "db" not found`, 10 * time.Second},
		"no name":        {`{"initContainerStatuses":[{"name":"job","state":{"waiting":{"reason":"InvalidImageName"}}}]}`, "pod p: InvalidImageName", 0},
	} {
		var pod corev1.Pod
		if err := json.Unmarshal([]byte(c.status), &pod.Status); err != nil {
			t.Fatal(err)
		}
		pod.Name = "p"
		if why, grace := job.Held(pod); why != c.want || grace != c.grace {
			t.Errorf("%s: %q after %s, want %q after %s", name, why, grace, c.want, c.grace)
		}
	}
}
