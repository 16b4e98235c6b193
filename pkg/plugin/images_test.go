package plugin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// shopLine is an app with three images.
var shopLine = strings.Replace(appLine("shop"), `"spec":{`, `"spec":{"images":{"migrate":{"dockerfile":{}},"worker":{"dockerfile":{}}},`, 1)

// workshop builds and publishes one image at a time. It waits for as many as meet.
type workshop struct {
	env  capability.Environment
	meet *sync.WaitGroup
	fail string

	mu    sync.Mutex
	calls []string
}

func (w *workshop) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, text)
}

func (w *workshop) BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	w.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: "build", Message: "busy"})
	w.meet.Done()
	w.meet.Wait()
	switch w.fail {
	case app.Name:
		return protocol.ImageRef{}, protocol.Retryable("%s broke", app.Name)
	case "panic":
		panic("of " + app.Name)
	case "":
		return protocol.ImageRef{Metadata: app.Metadata, Repository: app.Repository(), Unchanged: app.Name == "shop"}, nil
	}
	<-ctx.Done()
	return protocol.ImageRef{}, ctx.Err()
}

func (w *workshop) PushImage(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	w.note(app.Name + " " + image.Name + " " + image.Repository)
	if len(app.Images)+len(image.Images) > 0 {
		return image, errors.New("it got several images")
	}
	image.Digest = "sha256:" + strings.Repeat("a", 64)
	return image, nil
}

func (w *workshop) PushChart(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	chart := protocol.ChartRef{Metadata: app.Metadata, Chart: app.Name, Images: map[string]protocol.ImagePlaces{}}
	for name, further := range image.Images {
		w.note("chart " + name + " " + further.Repository + further.Digest[:10])
		chart.Images[name] = protocol.ImagePlaces{}
	}
	return chart, nil
}

func adapter[C any](w *workshop, as C) plugin.Adapters[C] {
	return plugin.Adapters[C]{"x": func(_ context.Context, env capability.Environment) (C, error) {
		w.env = env
		return as, nil
	}}
}

func provided(capabilities ...string) string {
	text := topologyLine
	for _, c := range capabilities {
		text = strings.Replace(text, `"spec":{`, `"spec":{"`+c+`":{"adapter":"x"},`, 1)
	}
	return text
}

// The images of an app are built side by side, each one by an adapter that knows of
// one, and are one result.
func TestBuildSeveralImages(t *testing.T) {
	w := &workshop{meet: &sync.WaitGroup{}}
	w.meet.Add(3)
	var events []string
	inv := plugin.Invocation{Events: func(e protocol.Event) { // from several goroutines
		if e.Phase == "build" {
			w.note(e.Name + ": " + e.Message)
		}
	}}
	read := []string{provided("containerBuilder"), shopLine}
	code, written := run(t, plugin.Build("1.0.0", adapter[capability.ContainerBuilder](w, w)), inv, read...)
	made := results(written, read)
	want := `"metadata":{"name":"shop","version":"1.0.0"},"spec":{"repository":"shop","images":{"migrate":{"repository":"shop-migrate"},"worker":{"repository":"shop-worker"}},"unchanged":true}}`
	if code != 0 || len(made) != 1 || !strings.Contains(made[0], want) {
		t.Errorf("exit status %d, results %q", code, made)
	}
	events = slices.Sorted(slices.Values(w.calls))
	if want := []string{"shop: busy", "shop: image migrate: busy", "shop: image worker: busy"}; !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
}

// The failure of one image ends the others, and is the app's.
func TestOneOfSeveralImagesFails(t *testing.T) {
	for fail, want := range map[string]string{"shop.worker": `"code":4,"message":"image worker: shop.worker broke"`, "panic": `internal error: of shop`} {
		w := &workshop{meet: &sync.WaitGroup{}, fail: fail}
		w.meet.Add(3)
		code, written := run(t, plugin.Build("1.0.0", adapter[capability.ContainerBuilder](w, w)), plugin.Invocation{}, provided("containerBuilder"), shopLine)
		if made := results(written, []string{provided("containerBuilder"), shopLine}); code == 0 || len(made) != 1 || !strings.Contains(made[0], want) {
			t.Errorf("%s: exit status %d, results %q", fail, code, made)
		}
	}
}

func TestPublishSeveralImages(t *testing.T) {
	w := &workshop{}
	s := plugin.Publish("1.0.0", adapter[capability.OCIRegistry](w, w), adapter[capability.HelmRegistry](w, w))
	s.Features = []string{protocol.FeatureImages}
	image := strings.Replace(imageLine("shop"), `"future"`, `"images":{"migrate":{"repository":"shop-migrate"},"worker":{"repository":"shop-worker"}},"future"`, 1)
	read := []string{provided("ociRegistry", "helmRegistry"), shopLine, image}
	code, written := run(t, s, plugin.Invocation{}, read...)
	if made := results(written, read); code != 0 || len(made) != 2 || strings.Count(made[0], `"digest"`) != 3 || !strings.Contains(made[1], `"images":{"migrate":{},"worker":{}}`) {
		t.Errorf("exit status %d, results %q", code, made)
	}
	want := []string{
		"chart migrate shop-migratesha256:aaa", "chart worker shop-workersha256:aaa",
		"shop shop shop", "shop.migrate shop.migrate shop-migrate", "shop.worker shop.worker shop-worker",
	}
	if got := slices.Sorted(slices.Values(w.calls)); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// Half of an app is not deployed: not by a stage that knows one image, and not from
// the documents of one.
func TestSeveralImagesAreRefused(t *testing.T) {
	both := strings.Replace(imageLine("shop"), `"future"`, `"images":{"migrate":{"repository":"m"},"worker":{"repository":"w"}},"future"`, 1)
	chartLine := `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"shop","version":"1.0.0"},"spec":{"chart":"shop","chartVersion":"1.0.0","digest":"","image":{},"images":{"worker":{}}}}`
	for name, test := range map[string]struct {
		stage plugin.Stage
		lines []string
		tells string
	}{
		"a stage without the feature": {stage(chart, protocol.KindImageRef), []string{both}, `does not know spec.images`},
		"an image from such a stage":  {knowing(stage(chart, protocol.KindImageRef)), []string{imageLine("shop")}, `the ImageRef of shop has no image \"migrate\"`},
		"a chart from such a stage":   {knowing(stage(chart, protocol.KindImageRef, protocol.KindChartRef)), []string{both, chartLine}, `the ChartRef of shop has no image \"migrate\"`},
	} {
		read := append([]string{topologyLine, shopLine}, test.lines...)
		code, written := run(t, test.stage, plugin.Invocation{}, read...)
		if made := results(written, read); code != protocol.ExitUnsupported || len(made) != 1 || !strings.Contains(made[0], test.tells) {
			t.Errorf("%s: exit status %d, results %q", name, code, made)
		}
	}
	if code, _ := run(t, knowing(stage(chart, protocol.KindImageRef)), plugin.Invocation{}, topologyLine, shopLine, both); code != 0 {
		t.Errorf("with the feature: exit status %d", code)
	}
	if code, _ := run(t, stage(chart), plugin.Invocation{}, topologyLine, shopLine); code != 0 {
		t.Errorf("a stage that has nothing to do with images: exit status %d", code)
	}
}

// The same holds for one image in several places.
func TestSeveralPlacesAreRefused(t *testing.T) {
	spec := strings.Replace(appLine("shop"), `{"value":"image"}`, `[{"value":"a"},{"value":"b"}]`, 1)
	chartLine := `{"apiVersion":"harmony.nationtech.io/v1","kind":"ChartRef","metadata":{"name":"shop","version":"1.0.0"},"spec":{"chart":"shop","chartVersion":"1.0.0","digest":"","image":{"value":"a"}}}`
	old := stage(chart, protocol.KindImageRef, protocol.KindChartRef)
	for _, test := range []struct {
		stage plugin.Stage
		chart string
		tells string
	}{
		{old, chartLine, `does not know a list in spec.chart.image`},
		{knowing(old), chartLine, `the ChartRef of shop does not have the image in .Values.b`},
		{knowing(old), strings.Replace(chartLine, `{"value":"a"}`, `[{"value":"a"},{"value":"b"}]`, 1), ""},
	} {
		read := []string{topologyLine, spec, imageLine("shop"), test.chart}
		code, written := run(t, test.stage, plugin.Invocation{}, read...)
		made := strings.Join(results(written, read), "\n")
		if want := map[bool]int{true: 0, false: protocol.ExitUnsupported}[test.tells == ""]; code != want || !strings.Contains(made, test.tells) {
			t.Errorf("%q: exit status %d, results %s", test.tells, code, made)
		}
	}
}

// A deploy stage that does not know rings of devices is not given a target with some.
func TestRingsAreRefused(t *testing.T) {
	old := stage(chart, protocol.KindImageRef)
	old.Name = "deploy"
	topology := `{"apiVersion":"harmony.nationtech.io/v1","kind":"Topology","metadata":{"name":"ci"},"spec":{"targets":{` +
		`"shops":{"edgeDevice":{"group":"shops","namespace":"fleet","rings":["10%","100%"]}},"cloud":{"inCluster":{"namespace":"fleet"}}}}}`
	fresh := old
	fresh.Features = []string{protocol.FeatureRings}
	for _, test := range []struct {
		stage  plugin.Stage
		target string
		code   int
	}{{old, "shops", protocol.ExitUnsupported}, {old, "cloud", 0}, {fresh, "shops", 0}} {
		read := []string{topology, appLine("shop"), imageLine("shop")}
		code, written := run(t, test.stage, plugin.Invocation{Target: test.target}, read...)
		if made := strings.Join(results(written, read), "\n"); code != test.code || code != 0 && !strings.Contains(made, "all devices at once") {
			t.Errorf("%s, features %q: exit status %d, want %d, results %s", test.target, test.stage.Features, code, test.code, made)
		}
	}
}

func knowing(s plugin.Stage) plugin.Stage {
	s.Features = []string{protocol.FeatureImages, protocol.FeatureImagePlaces}
	return s
}
