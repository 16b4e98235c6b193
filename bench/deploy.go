package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// crowd is how many apps are deployed to one cluster.
const crowd = 30

// deploys measures delivery alone: documents of what is published go in, and
// proven results come out. The peers deploy the same charts.
func deploys(ctx context.Context, b *bench) ([]row, error) {
	return withDelivery(ctx, b, "deploy", func(d *delivery) (rows []row, err error) {
		for _, measure := range []func(context.Context) ([]row, error){d.one, d.many, d.flux, d.argocd} {
			measured, err := measure(ctx)
			rows = append(rows, measured...)
			if err != nil {
				return rows, err
			}
		}
		return rows, nil
	})
}

// withDelivery makes the project in a folder, and removes what was deployed after use.
func withDelivery(ctx context.Context, b *bench, folder string, use func(*delivery) ([]row, error)) (rows []row, err error) {
	d := &delivery{bench: b, folder: b.path(folder), stamp: fmt.Sprint(time.Now().UnixNano())}
	if err := d.project(ctx); err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		err = errors.Join(err, d.clean(ctx))
	}()
	return use(d)
}

// delivery is a project of many apps that share an image and a chart.
type delivery struct {
	bench  *bench
	folder string
	stamp  string
	round  int
}

// topologies are one for each way of delivery; each has a namespace of its name.
var topologies = []string{"helm", "flux", "argocd"}

func namespaceOf(topology string) string { return "bench-deploy-" + topology }

// project writes the project.
func (d *delivery) project(ctx context.Context) error {
	if err := errors.Join(
		os.CopyFS(filepath.Join(d.folder, "chart"), os.DirFS("bench/chart")),
		goBuild(ctx, filepath.Join(d.folder, "app", "app"), "./bench/waits"),
		os.WriteFile(filepath.Join(d.folder, "Dockerfile"), []byte("FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n"), 0o644),
	); err != nil {
		return err
	}
	var config strings.Builder
	for _, t := range topologies {
		fmt.Fprintf(&config, `---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: %[1]s}
spec:
  containerBuilder: {adapter: daemonless}
  ociRegistry: {adapter: oci, url: %[2]s/bench-deploy}
  helmRegistry: {adapter: oci, url: %[2]s/bench-deploy-charts}
  continuousDelivery: {adapter: %[1]s}
  targets: {staging: {inCluster: {namespace: %[3]s}}}
`, t, os.Getenv("HARMONY_REGISTRY"), namespaceOf(t))
	}
	for i := range crowd {
		fmt.Fprintf(&config, `---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: %s}
spec:
  projectRoot: .
  image: {repository: app, dockerfile: {path: Dockerfile, context: app}}
  chart: {path: chart, image: {value: image}}
  targets: {staging: {values: {round: "@ROUND@"}}}
`, app(i))
	}
	return os.WriteFile(filepath.Join(d.folder, "harmony.yaml"), []byte(config.String()), 0o644)
}

func app(i int) string { return fmt.Sprintf("app-%02d", i+1) }

// published builds and publishes the apps, and returns the documents' file.
func (d *delivery) published(ctx context.Context, topology string, apps ...string) (string, error) {
	file := filepath.Join(d.folder, fmt.Sprintf("%s-%d.ndjson", topology, len(apps)))
	line := fmt.Sprintf("set -o pipefail; harmony build --topology=%s --version=1.0.0-dev.%s %s | harmony publish >%s",
		topology, d.stamp, strings.Join(apps, " "), file)
	return file, command{name: "publish", argv: []string{"bash", "-c", line}, dir: d.folder}.run(ctx)
}

// changed writes the documents for the next round, of new pods if change is set.
func (d *delivery) changed(file string, change bool) func(context.Context) error {
	return func(context.Context) error {
		text, err := os.ReadFile(file)
		if change {
			d.round++
		}
		return errors.Join(err, os.WriteFile(file+".now", []byte(strings.ReplaceAll(string(text), "@ROUND@", d.next())), 0o644))
	}
}

// next is the value that makes this round's pods.
func (d *delivery) next() string { return fmt.Sprintf("%s.%d", d.stamp, d.round) }

// deploy is ours.
func (d *delivery) deploy(topology, file string, change bool) command {
	return command{
		name: "harmony deploy", argv: []string{"harmony", "deploy", "--topology=" + topology, "--target=staging"},
		dir: d.folder, stdin: file + ".now", before: d.changed(file, change),
	}
}

// helm is the peer's: the same charts by plain helm, so many at a time.
func (d *delivery) helm(parallel int, change bool, apps ...string) command {
	c := command{name: "helm upgrade --install --wait", dir: d.folder}
	c.before = func(context.Context) error {
		if change {
			d.round++
		}
		const each = `helm upgrade --install --wait --plain-http --create-namespace --namespace %s {} oci://%s/bench-deploy-charts/bench --version 1.0.0-dev.%s --set-string round=%s`
		line := fmt.Sprintf(each, namespaceOf("by-helm"), os.Getenv("HARMONY_REGISTRY"), d.stamp, d.next())
		c.argv[2] = fmt.Sprintf("printf '%%s\\n' %s | xargs -P %d -I {} %s", strings.Join(apps, " "), parallel, line)
		return nil
	}
	c.argv = []string{"bash", "-c", ""}
	return c
}

// one measures a single app: nothing to do, and a change until its pod runs.
func (d *delivery) one(ctx context.Context) ([]row, error) {
	file, err := d.published(ctx, "helm", app(0))
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, what := range []struct {
		name   string
		change bool
	}{{"deploy, unchanged: one app by helm", false}, {"deploy, change → ready: one app by helm", true}} {
		times, err := interleave(ctx, d.bench.rounds(10), d.deploy("helm", file, what.change), d.helm(1, what.change, app(0)))
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{what: what.name, times: times[0], against: "helm upgrade --install --wait", peer: times[1]})
	}
	return rows, nil
}

// many measures many apps on one cluster that has none of them, and then a
// change of all.
func (d *delivery) many(ctx context.Context) ([]row, error) {
	var apps []string
	for i := range crowd {
		apps = append(apps, app(i))
	}
	if d.bench.quick {
		apps = apps[:5]
	}
	file, err := d.published(ctx, "helm", apps...)
	if err != nil {
		return nil, err
	}
	names := []string{"helm upgrade --install --wait, one by one", "helm upgrade --install --wait, 8 at a time"}
	ours, single, eight := d.deploy("helm", file, true), d.helm(1, true, apps...), d.helm(8, true, apps...)
	times, err := interleave(ctx, d.bench.rounds(3), ours, single, eight)
	if err != nil {
		return nil, err
	}
	return compare(fmt.Sprintf("deploy, change → ready: %d apps by helm", len(apps)), times[0], budget{}, names, times[1:]), nil
}

// flux measures a change against the floor of Flux: a patch of the values, and
// its own condition.
func (d *delivery) flux(ctx context.Context) ([]row, error) {
	namespace := namespaceOf("flux")
	return d.controlled(ctx, "flux", "the floor: kubectl patch helmrelease, wait", func() string {
		return fmt.Sprintf(`kubectl -n %[1]s patch helmrelease %[2]s --type=merge -p '{"spec":{"values":{"round":"%[3]s"}}}' &&
			kubectl -n %[1]s wait helmrelease/%[2]s --for=condition=Ready --timeout=2m`, namespace, app(1), d.next())
	})
}

// argocd measures a change against the floor of Argo CD: a patch of the values
// with an operation, the rollout and the health.
func (d *delivery) argocd(ctx context.Context) ([]row, error) {
	return d.controlled(ctx, "argocd", "the floor: kubectl patch application, wait", func() string {
		return fmt.Sprintf(`name=application/%[2]s-staging
			kubectl -n argocd patch $name --type=merge -p '{"operation":{"sync":{}},"spec":{"source":{"helm":{"valuesObject":{"round":"%[3]s"}}}}}' &&
			kubectl -n %[1]s wait deployment/%[2]s --for=jsonpath='{.spec.template.metadata.annotations.round}'=%[3]s --timeout=2m &&
			kubectl -n %[1]s rollout status deployment/%[2]s --timeout=2m &&
			kubectl -n argocd wait $name --for=jsonpath='{.status.operationState.phase}'=Succeeded --timeout=2m &&
			kubectl -n argocd wait $name --for=jsonpath='{.status.health.status}'=Healthy --timeout=2m`, namespaceOf("argocd"), app(1), d.next())
	})
}

// controlled deploys two apps by a controller, then changes one by us and the
// other by hand.
func (d *delivery) controlled(ctx context.Context, topology, floorName string, script func() string) ([]row, error) {
	both, err := d.published(ctx, topology, app(0), app(1))
	if err != nil {
		return nil, err
	}
	if err := d.deploy(topology, both, true).run(ctx); err != nil {
		return nil, err
	}
	one, err := d.published(ctx, topology, app(0))
	if err != nil {
		return nil, err
	}
	floor := command{name: floorName, argv: []string{"bash", "-e", "-c", ""}}
	floor.before = func(context.Context) error {
		d.round++
		floor.argv[3] = script()
		return nil
	}
	times, err := interleave(ctx, d.bench.rounds(5), d.deploy(topology, one, true), d.deploy(topology, one, false), floor)
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "deploy, change → ready: one app by " + topology, times: times[0], against: floorName, peer: times[2]},
		{what: "deploy, unchanged: one app by " + topology, times: times[1], against: floorName, peer: times[2]},
	}, nil
}

// clean removes what the controllers follow, and then the namespaces.
func (d *delivery) clean(ctx context.Context) error {
	lines := []string{"kubectl -n argocd delete --ignore-not-found --timeout=1m applications " + app(0) + "-staging " + app(1) + "-staging"}
	lines = append(lines, "kubectl -n "+namespaceOf("flux")+" delete helmreleases --all --timeout=1m")
	namespaces := namespaceOf("by-helm")
	for _, t := range topologies {
		namespaces += " " + namespaceOf(t)
	}
	lines = append(lines, "kubectl delete namespace --ignore-not-found --timeout=2m "+namespaces)
	return command{name: "clean up", argv: []string{"bash", "-e", "-c", strings.Join(lines, "\n")}}.run(ctx)
}
