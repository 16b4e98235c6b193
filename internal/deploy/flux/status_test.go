package flux

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nationtech/harmony/internal/cluster/marks"
)

// digests of a chart that is wanted, and of another.
var (
	wantedDigest = "sha256:" + strings.Repeat("a", 64)
	otherDigest  = "sha256:" + strings.Repeat("b", 64)
)

func read(t *testing.T, text string) seen {
	t.Helper()
	object := &unstructured.Unstructured{}
	text = strings.NewReplacer("WANTED", wantedDigest, "OTHER", otherDigest).Replace(text)
	if err := yaml.Unmarshal([]byte("kind: HelmRelease\nmetadata: {name: app, namespace: n, generation: 2}\n"+text), &object.Object); err != nil {
		t.Fatal(err)
	}
	s, err := newSeen(object)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJudgeRelease(t *testing.T) {
	ready := "status:\n  observedGeneration: 2\n  lastHandledReconcileAt: token\n  history: [{version: 2, ociDigest: WANTED}]\n" +
		"  conditions:\n  - {type: Ready, status: 'True', observedGeneration: 2, message: fine}\n"
	for name, c := range map[string]struct {
		text string
		want verdict
	}{
		"no status":           {"status: {}", verdict{}},
		"ready":               {ready, verdict{done: true}},
		"not asked yet":       {strings.Replace(ready, "token", "older", 1), verdict{}},
		"an older generation": {strings.Replace(ready, "observedGeneration: 2\n", "observedGeneration: 1\n", 1), verdict{}},
		"a condition of an older generation": {
			strings.Replace(ready, "'True', observedGeneration: 2", "'True', observedGeneration: 1", 1), verdict{}},
		"another chart": {strings.Replace(ready, "WANTED", "OTHER", 1), verdict{}},
		"still at it":   {ready + "  - {type: Reconciling, status: 'True', observedGeneration: 2}\n", verdict{}},
		"attempted, and no digest in the history": {
			strings.Replace(ready, ", ociDigest: WANTED", "", 1) + "  lastAttemptedRevisionDigest: WANTED\n", verdict{done: true}},
		"stalled": {strings.Replace(ready, "'True'", "'False'", 1) + "  - {type: Stalled, status: 'True', observedGeneration: 2}\n",
			verdict{failed: true}},
		"stalled before": {strings.Replace(ready, "'True'", "'False'", 1) + "  - {type: Stalled, status: 'True', observedGeneration: 1}\n", verdict{}},
		"rolled back": {strings.Replace(ready, "'True'", "'False'", 1) +
			"  - {type: Stalled, status: 'True', observedGeneration: 2}\n" +
			"  - {type: Remediated, status: 'True', observedGeneration: 2, reason: RollbackSucceeded}\n",
			verdict{failed: true, rolledBack: true}},
		"uninstalled": {strings.Replace(ready, "'True'", "'False'", 1) +
			"  - {type: Stalled, status: 'True', observedGeneration: 2}\n" +
			"  - {type: Remediated, status: 'True', observedGeneration: 2, reason: UninstallSucceeded}\n",
			verdict{failed: true}},
	} {
		if got := judgeRelease(read(t, c.text), wantedDigest, "token"); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestJudgeSource(t *testing.T) {
	ready := "status:\n  observedGeneration: 2\n  artifact: {revision: WANTED, digest: x, path: x, url: x, lastUpdateTime: '2026-01-01T00:00:00Z'}\n" +
		"  conditions:\n  - {type: Ready, status: 'True', observedGeneration: 2}\n"
	refused := "status:\n  lastHandledReconcileAt: token\n  conditions:\n  - {type: Ready, status: 'False', observedGeneration: 2, message: 'MANIFEST_UNKNOWN: manifest unknown'}\n"
	for name, c := range map[string]struct {
		text string
		want verdict
	}{
		"ready":          {ready, verdict{done: true}},
		"another chart":  {strings.Replace(ready, "WANTED", "OTHER", 1), verdict{}},
		"a tag as well":  {strings.Replace(ready, "WANTED", "1.0.0@WANTED", 1), verdict{done: true}},
		"refused":        {refused, verdict{failed: true, refused: true}},
		"refused before": {strings.Replace(refused, "token", "older", 1), verdict{}},
		"away":           {strings.Replace(refused, "MANIFEST_UNKNOWN: manifest unknown", "connection refused", 1), verdict{refused: true}},
	} {
		if got := judgeSource(read(t, c.text), wantedDigest, "token"); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	text := func(reason, message string) string {
		return "status:\n  observedGeneration: 2\n  conditions:\n  - {type: Ready, status: 'False', observedGeneration: 2, reason: " + reason + ", message: '" + message + "'}\n"
	}
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"values":          {text("ValuesError", "no such Secret"), true},
		"may not read":    {text("StateError", "secrets is forbidden: User x cannot list"), true},
		"away":            {text("StateError", "connection refused"), false},
		"at it":           {text("Progressing", "is forbidden"), false},
		"with a revision": {text("UpgradeFailed", "x") + "  history: [{version: 3}]\n", false},
		"ready":           {strings.Replace(text("ValuesError", "x"), "'False'", "'True'", 1), false},
	} {
		if got := read(t, c.text).refused(2); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// After a rollback Flux does not tell the chart's digest.
func TestChartInForce(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"none":   {"status: {}", ""},
		"newest": {"status: {history: [{version: 2, ociDigest: WANTED}]}", wantedDigest},
		"rolled back": {"status: {history: [{version: 3, chartVersion: 1.0.0+aaa}, {version: 2, chartVersion: 1.0.0+bbb, ociDigest: OTHER}, " +
			"{version: 1, chartVersion: 1.0.0+aaa, ociDigest: WANTED}]}", wantedDigest},
		"remembered": {"status: {history: [{version: 3, chartVersion: 1.0.0+aaaaaaaaaaaa}]}", wantedDigest},
		"unknown":    {"status: {history: [{version: 3, chartVersion: 1.0.0+cccccccccccc}]}", ""},
	} {
		s := read(t, c.text)
		s.SetAnnotations(map[string]string{marks.ChartBefore: wantedDigest})
		if got := s.inForce(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	live := map[string]any{"a": "x", "b": map[string]any{"c": int64(1), "more": true}, "l": []any{"x"}}
	for name, c := range map[string]struct {
		want   map[string]any
		covers bool
	}{
		"the same":       {live, true},
		"less":           {map[string]any{"b": map[string]any{"c": int64(1)}}, true},
		"more":           {map[string]any{"z": "x"}, false},
		"another value":  {map[string]any{"b": map[string]any{"c": int64(2)}}, false},
		"another list":   {map[string]any{"l": []any{"x", "y"}}, false},
		"a map for none": {map[string]any{"a": map[string]any{"x": "y"}}, false},
	} {
		if got := covers(live, c.want); got != c.covers {
			t.Errorf("%s: %t", name, got)
		}
	}
}
