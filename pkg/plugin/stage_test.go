package plugin_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// A plugin of another name can take the place of a stage.
func TestNameOfThePlugin(t *testing.T) {
	for name, want := range map[string]string{"": "smoke", "smoke-acme": "smoke-acme"} {
		info := plugin.Stage{Name: "smoke", Plugin: name}.Info(nil)
		if info.Name != want || info.Stage != "smoke" {
			t.Errorf("plugin %q: describe answers %q of stage %q", name, info.Name, info.Stage)
		}
	}
}

// A stage is opened as soon as there is an app for it, before the app's other
// documents, and closed when its work has ended.
func TestOpenedEarlyAndClosedLast(t *testing.T) {
	var steps []string
	opened := make(chan struct{})
	s := plugin.Stage{
		Name: "test", Needs: []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef},
		Open: func(context.Context, plugin.Environment) (plugin.Work, error) {
			steps = append(steps, "open")
			close(opened)
			return func(context.Context, plugin.Inputs, func(protocol.Spec)) error {
				steps = append(steps, "work")
				return nil
			}, nil
		},
		Close: func() error {
			steps = append(steps, "close")
			return nil
		},
	}
	in, out := io.Pipe()
	go func() {
		defer out.Close()
		fmt.Fprintln(out, topologyLine+"\n"+failureLine("failed", 1)+"\n"+appLine("a"))
		<-opened
		fmt.Fprintln(out, imageLine("a"))
	}()
	if code, _ := run(t, s, plugin.Invocation{Stdin: in}); code != protocol.ExitFailed || strings.Join(steps, " ") != "open work close" {
		t.Errorf("exit status %d after %v", code, steps)
	}
}

// A stage whose only apps have failed is not opened; one that does not close well
// has failed.
func TestNotOpenedAndNotClosed(t *testing.T) {
	s := stage(chart)
	open := s.Open
	s.Open = func(ctx context.Context, env plugin.Environment) (plugin.Work, error) {
		t.Error("opened for an app that has failed")
		return open(ctx, env)
	}
	if code, _ := run(t, s, plugin.Invocation{}, topologyLine, failureLine("a", 4), appLine("a")); code != protocol.ExitRetryable {
		t.Errorf("exit status %d", code)
	}
	s.Open, s.Close = open, func() error { return protocol.Invalid("it is stuck") }
	if code, written := run(t, s, plugin.Invocation{}, topologyLine, appLine("a")); code != protocol.ExitInvalid || !strings.Contains(strings.Join(written, ""), "it is stuck") {
		t.Errorf("exit status %d, wrote %s", code, written)
	}
}

// charted is a HelmRegistry that tells which image it was given.
type charted struct{}

func (charted) PushChart(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	return protocol.ChartRef{Metadata: app.Metadata, Chart: image.Repository}, nil
}

// Without a table of images, publish takes the image as it is and makes the chart.
func TestPublishChartsOnly(t *testing.T) {
	s := plugin.Publish("1.0.0", nil, plugin.Adapters[capability.HelmRegistry]{
		"x": func(context.Context, capability.Environment) (capability.HelmRegistry, error) { return charted{}, nil },
	})
	if info := s.Info(nil); len(info.Produces) != 1 || len(info.Capabilities) != 1 {
		t.Errorf("describe answers %v and %v", info.Produces, info.Capabilities)
	}
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"helmRegistry":{"adapter":"x"},`, 1)
	read := []string{topology, appLine("a"), imageLine("a")}
	code, written := run(t, s, plugin.Invocation{}, read...)
	if made := results(written, read); code != protocol.ExitOK || len(made) != 1 || !strings.Contains(made[0], `"kind":"ChartRef"`) || !strings.Contains(made[0], `"chart":"a"`) {
		t.Errorf("exit status %d, results %q", code, made)
	}
}

// withoutImage is an app that has only a chart.
var withoutImage = strings.Replace(appLine("b"), `"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}`, `"chart":{"path":"chart"}`, 1)

// An app without an image is built by nobody, and its chart is published alone.
func TestAppWithoutImage(t *testing.T) {
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"helmRegistry":{"adapter":"x"},`, 1)
	s := plugin.Publish("1.0.0", nil, plugin.Adapters[capability.HelmRegistry]{
		"x": func(context.Context, capability.Environment) (capability.HelmRegistry, error) { return charted{}, nil },
	})
	read := []string{topology, withoutImage}
	code, written := run(t, s, plugin.Invocation{}, read...)
	if made := results(written, read); code != protocol.ExitOK || len(made) != 1 || !strings.Contains(made[0], `"kind":"ChartRef"`) {
		t.Errorf("exit status %d, results %q", code, made)
	}
	if info := s.Info(nil); len(info.Features) != 1 || info.Features[0] != protocol.FeatureNoImage {
		t.Errorf("describe answers the features %q", info.Features)
	}
}

// A stage that knows nothing of such apps does not half of its work.
func TestAppWithoutImageInAnotherStage(t *testing.T) {
	code, written := run(t, stage(chart, protocol.KindImageRef), plugin.Invocation{}, topologyLine, withoutImage)
	if code != protocol.ExitUnsupported || !strings.Contains(strings.Join(written, "\n"), `needs an image, and app \"b\" has none`) {
		t.Errorf("exit status %d, wrote %q", code, written)
	}
}
