package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/schemas"
)

// monitoring is what the example is given, under spec of its app.
const monitoring = `  monitoring:
    metrics: {port: http, path: /healthz, interval: 5s}
    alerts:
      - {name: PagesDown, expr: 'absent(up{job="${app}",namespace="${namespace}"} == 1)', for: 1m, severity: critical}
    routes:
      - {name: hook, match: {severity: critical}, webhook: {url: "http://alerts.example.com/"}}
`

// watchedPipeline has the stage monitor in its middle.
const watchedPipeline = `---
apiVersion: harmony.nationtech.io/v1
kind: Pipeline
metadata: {name: watched}
spec:
  pipeline: [release, {deploy: staging}, smoke, monitor, {deploy: production}, smoke]
`

// topologyOf is a topology of the project, with a line for the capability or none.
func (p *project) topologyOf(name, monitoring string) string {
	return fmt.Sprintf(`---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: %[1]s}
spec:
  containerBuilder: {adapter: auto}
  ociRegistry: {adapter: oci, url: %[2]s}
  helmRegistry: {adapter: none}
  continuousDelivery: {adapter: helm}
%[4]s  targets:
    staging: {inCluster: {namespace: %[3]s-staging}}
    production: {inCluster: {namespace: %[3]s-production}}
`, name, p.registry(), p.name, monitoring)
}

// A pipeline of the project's own on the real cluster, with the operator's real
// definitions: the app is watched on staging before production is touched, a
// second run finds nothing to do, and what is not asked for any more goes.
func TestMonitoredRelease(t *testing.T) {
	p := newFolder(t)
	p.cluster.PrometheusOperator(t)
	if err := os.CopyFS(p.dir, os.DirFS(filepath.Join("..", "..", "examples", "workload"))); err != nil {
		t.Fatal(err)
	}
	p.rewrite("harmony.yaml", "repository: pages", "repository: "+p.name+"/pages")
	p.rewrite("harmony.yaml", "  smoke:\n", monitoring+"  smoke:\n")
	text, err := os.ReadFile(filepath.Join(p.dir, "harmony.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const operator = "  monitoring: {adapter: prometheus-operator, settings: {labels: {release: prometheus}}}\n"
	p.write("harmony.yaml", []byte(string(text)+watchedPipeline+p.topologyOf("watched", operator)+p.topologyOf("blind", "")))

	release := []string{"release", "pages", "--version", "1.4.0", "-o", "json", "--topology"}
	refused := p.run("harmony", append(release, "blind")...)
	if refused.code != 3 || !strings.Contains(refused.stderr, `topology "blind" cannot monitor: no Monitoring (has ContainerBuilder: auto,`) || refused.stdout != "" {
		t.Errorf("without the capability: exit status %d\n%s%s", refused.code, refused.stdout, refused.stderr)
	}

	first := p.must("harmony", append(release, "watched")...)
	var order []string
	for line := range strings.Lines(first.stdout) {
		if err := schemas.Validate([]byte(line)); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
	for _, d := range documents(t, first.stdout) {
		if d.Spec.Target != "" {
			order = append(order, d.Kind+" "+d.Spec.Target)
		}
	}
	if want := []string{"DeployResult staging", "SmokeReport staging", "MonitoringResult staging", "DeployResult production", "SmokeReport production"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	staging := "--namespace=" + p.name + "-staging"
	const all = "servicemonitors,prometheusrules,alertmanagerconfigs"
	if got := p.must("kubectl", "get", all, staging, "-o", "name").stdout; got != "servicemonitor.monitoring.coreos.com/pages\nprometheusrule.monitoring.coreos.com/pages\nalertmanagerconfig.monitoring.coreos.com/pages.hook\n" {
		t.Errorf("on staging there are\n%s", got)
	}
	if got := p.must("kubectl", "get", all, "--namespace="+p.name+"-production", "-o", "name").stdout; got != "" {
		t.Errorf("on production there are\n%s", got)
	}
	p.checkServiceMonitor(staging)

	second := only(documents(t, p.must("harmony", append(release, "watched")...).stdout), "MonitoringResult")
	if len(second) != 1 || !second[0].Spec.Unchanged {
		t.Errorf("again: %+v", second)
	}

	alone := p.must("harmony", "monitor", "pages", "--version", "1.4.0", "--topology", "watched", "--target", "staging", "-o", "text").stdout
	if !strings.Contains(alone, "unchanged: 3 objects") {
		t.Errorf("the stage alone: %s", alone)
	}

	p.rewrite("harmony.yaml", monitoring, "")
	plan := p.must("harmony", "plan", "pages", "--version", "1.4.0", "--topology", "watched", "-o", "text").stdout
	if !regexp.MustCompile(`monitor staging +Monitoring +prometheus-operator +yes +would remove 3 of 3 objects`).MatchString(plan) {
		t.Errorf("plan:\n%s", plan)
	}
	p.must("harmony", append(release, "watched")...)
	if got := p.must("kubectl", "get", all, staging, "-o", "name").stdout; got != "" {
		t.Errorf("left are\n%s", got)
	}
}

// checkServiceMonitor holds that what Prometheus is told to look for is there: a
// Service with these labels and a port of this name.
func (p *project) checkServiceMonitor(namespace string) {
	p.t.Helper()
	get := func(what, path string) string {
		return strings.TrimSpace(p.must("kubectl", "get", what, namespace, "-o", "jsonpath="+path).stdout)
	}
	instance := get("servicemonitor/pages", `{.spec.selector.matchLabels.app\.kubernetes\.io/instance}`)
	port := get("servicemonitor/pages", "{.spec.endpoints[0].port}")
	found := strings.TrimSpace(p.must("kubectl", "get", "services", namespace, "-l", "app.kubernetes.io/instance="+instance,
		"-o", fmt.Sprintf("jsonpath={.items[*].spec.ports[?(@.name==%q)].name}", port)).stdout)
	if instance == "" || port == "" || found != port {
		p.t.Errorf("ServiceMonitor of %q, port %q: Services have %q", instance, port, found)
	}
}
