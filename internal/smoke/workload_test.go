package smoke

import (
	"encoding/json"
	"testing"
)

func TestWaitsFor(t *testing.T) {
	tests := []struct {
		name, kind, object, want string
	}{
		{"complete", "deployment", `{"metadata":{"generation":3},"spec":{"replicas":2},"status":{"observedGeneration":3,"replicas":2,"updatedReplicas":2,"availableReplicas":2}}`, ""},
		{"one replica by default", "deployment", `{"status":{}}`, "0 of 1 pods updated"},
		{"scaled to none", "deployment", `{"spec":{"replicas":0},"status":{}}`, ""},
		{"not observed", "deployment", `{"metadata":{"generation":4},"spec":{"replicas":1},"status":{"observedGeneration":3,"replicas":1,"updatedReplicas":1,"availableReplicas":1}}`, "the newest change is not taken up yet"},
		{"paused", "deployment", `{"spec":{"replicas":1,"paused":true},"status":{"replicas":1,"updatedReplicas":1,"availableReplicas":1}}`, "the rollout is paused"},
		{"updating", "deployment", `{"spec":{"replicas":3},"status":{"replicas":4,"updatedReplicas":1,"availableReplicas":3}}`, "1 of 3 pods updated"},
		{"old pods", "deployment", `{"spec":{"replicas":2},"status":{"replicas":3,"updatedReplicas":2,"availableReplicas":3}}`, "old pods still there: 1"},
		{"not available", "deployment", `{"spec":{"replicas":2},"status":{"replicas":2,"updatedReplicas":2,"availableReplicas":1}}`, "1 of 2 pods available"},
		{"deadline", "deployment", `{"spec":{"replicas":1},"status":{"replicas":1,"updatedReplicas":1,"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded","message":"timed out"}]}}`, "timed out"},
		{"quota", "deployment", `{"spec":{"replicas":1},"status":{"conditions":[{"type":"ReplicaFailure","status":"True","reason":"FailedCreate","message":"exceeded quota"}]}}`, "exceeded quota"},
		{"set complete", "statefulset", `{"spec":{"replicas":2,"updateStrategy":{"type":"RollingUpdate"}},"status":{"replicas":2,"updatedReplicas":2,"availableReplicas":2,"currentRevision":"b","updateRevision":"b"}}`, ""},
		{"set updating", "statefulset", `{"spec":{"replicas":2},"status":{"replicas":2,"updatedReplicas":1,"availableReplicas":2,"currentRevision":"a","updateRevision":"b"}}`, "1 of 2 pods updated"},
		{"set's last revision", "statefulset", `{"spec":{"replicas":2},"status":{"replicas":2,"updatedReplicas":2,"availableReplicas":2,"currentRevision":"a","updateRevision":"b"}}`, "old pods still there: 1"},
		{"set with a partition", "statefulset", `{"spec":{"replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}},"status":{"replicas":3,"updatedReplicas":1,"availableReplicas":3,"currentRevision":"a","updateRevision":"b"}}`, ""},
		{"set by hand", "statefulset", `{"spec":{"replicas":1,"updateStrategy":{"type":"OnDelete"}},"status":{"replicas":1,"availableReplicas":1,"currentRevision":"a","updateRevision":"b"}}`, ""},
		{"daemons complete", "daemonset", `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":2}}`, ""},
		{"daemons updating", "daemonset", `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":1,"numberAvailable":2}}`, "1 of 2 pods updated"},
		{"daemons not available", "daemonset", `{"status":{"desiredNumberScheduled":2,"updatedNumberScheduled":2,"numberAvailable":0}}`, "0 of 2 pods available"},
		{"no node for daemons", "daemonset", `{"status":{}}`, ""},
		{"rollout complete", "rollout", `{"metadata":{"generation":3},"spec":{"replicas":2},"status":{"observedGeneration":"3","phase":"Healthy","currentPodHash":"b","stableRS":"b","availableReplicas":2}}`, ""},
		{"rollout not observed", "rollout", `{"metadata":{"generation":3},"status":{"observedGeneration":"2","phase":"Healthy","currentPodHash":"b","stableRS":"b"}}`, "the newest change is not taken up yet"},
		{"rollout before 0.10", "rollout", `{"metadata":{"generation":3},"status":{"observedGeneration":"6f7c","phase":"Healthy","currentPodHash":"b","stableRS":"b"}}`, ""},
		{"rollout paused", "rollout", `{"status":{"observedGeneration":"3","phase":"Paused","message":"CanaryPauseStep","currentPodHash":"b","stableRS":"a"}}`, "paused: CanaryPauseStep"},
		{"rollout aborted", "rollout", `{"status":{"phase":"Degraded","message":"RolloutAborted: metric failed","currentPodHash":"b","stableRS":"a"}}`, "degraded: RolloutAborted: metric failed"},
		{"rollout of another revision", "rollout", `{"status":{"phase":"Healthy","currentPodHash":"b","stableRS":"a"}}`, "not all pods are of the newest change"},
		{"canary complete", "canary", `{"metadata":{"generation":3},"status":{"phase":"Succeeded"}}`, ""},
		{"canary new", "canary", `{"status":{}}`, "its controller has not taken it up yet"},
		{"canary failed", "canary", `{"status":{"phase":"Failed","conditions":[{"type":"Promoted","status":"False","reason":"Failed","message":"Canary analysis failed"}]}}`, "failed: Canary analysis failed"},
	}
	for _, test := range tests {
		w := workload{kind: test.kind}
		if err := json.Unmarshal([]byte(test.object), &w); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := w.waitsFor(); got != test.want {
			t.Errorf("%s: waits for %q, want %q", test.name, got, test.want)
		}
	}
}
