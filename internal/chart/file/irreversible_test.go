package file

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/internal/cluster/manifest"
)

func TestIrreversible(t *testing.T) {
	const mark = `annotations: {harmony.nationtech.io/irreversible: "true"}`
	object := func(kind, annotations string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: migrate, " + annotations + "}\n"
	}
	for name, test := range map[string]struct {
		chart, dependency map[string]string
		objects           []string
		want              string
	}{
		"nothing":        {objects: []string{object("Job", "")}},
		"false":          {chart: map[string]string{"harmony.nationtech.io/irreversible": "false"}, objects: []string{object("Job", strings.Replace(mark, "true", "no", 1))}},
		"chart":          {chart: map[string]string{"harmony.nationtech.io/irreversible": "true"}, want: "chart shop"},
		"subchart":       {dependency: map[string]string{"harmony.nationtech.io/irreversible": "true"}, want: "chart db"},
		"job":            {objects: []string{object("ConfigMap", ""), object("Job", mark)}, want: "Job migrate"},
		"any other kind": {objects: []string{object("Pod", mark)}, want: "Pod migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			ch := &chart.Chart{Metadata: &chart.Metadata{Name: "shop", Annotations: test.chart}}
			ch.AddDependency(&chart.Chart{Metadata: &chart.Metadata{Name: "db", Annotations: test.dependency}})
			objects, err := manifest.Parse(strings.Join(test.objects, "---\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := Irreversible(ch, objects); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
