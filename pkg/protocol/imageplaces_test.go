package protocol_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestImagePlacesAsJSON(t *testing.T) {
	for _, test := range []struct {
		text   string
		want   protocol.ImagePlaces
		again  string
		config string
		where  string
	}{
		{`{}`, nil, `{}`, `{}`, "the chart's templates"},
		{`null`, nil, `{}`, `{}`, "the chart's templates"},
		{`[]`, nil, `{}`, `{}`, "the chart's templates"},
		{`{"value":"image"}`, protocol.ImagePlaces{{Value: "image"}}, `{"value":"image"}`, `{value: image}`, ".Values.image"},
		{`[{"value":"image"}]`, protocol.ImagePlaces{{Value: "image"}}, `{"value":"image"}`, `{value: image}`, ".Values.image"},
		{`{"VALUE":"image"}`, nil, `{}`, `{}`, "the chart's templates"},
		{` [ {"value":"a"}, {"repository":"b","tag":"c"} ]`, protocol.ImagePlaces{{Value: "a"}, {Repository: "b", Tag: "c"}},
			`[{"value":"a"},{"repository":"b","tag":"c"}]`, `[{value: a}, {repository: b, tag: c}]`, ".Values.a, .Values.b and .Values.c"},
	} {
		var got protocol.ImagePlaces
		if err := json.Unmarshal([]byte(test.text), &got); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v", test.text, got, err)
		}
		if again, err := json.Marshal(got); err != nil || string(again) != test.again {
			t.Errorf("%s: written as %s, %v", test.text, again, err)
		}
		if got.String() != test.config || got.Places() != test.where {
			t.Errorf("%s: printed as %s, %q", test.text, got, got.Places())
		}
	}
	for _, text := range []string{`"image"`, `7`, `[7]`, `{"value":1}`, `[{"value":"a","value":"b"}]`} {
		if err := json.Unmarshal([]byte(text), new(protocol.ImagePlaces)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

// What is read is written the same way again.
func FuzzImagePlaces(f *testing.F) {
	for _, text := range []string{`{}`, `[]`, `{"value":"a"}`, `[{"value":"a"},{}]`, `[{"repository":"a","tag":"b"},{"x":{"x":1}}]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, second protocol.ImagePlaces
		if json.Unmarshal([]byte(text), &first) != nil {
			return
		}
		line, err := json.Marshal(first)
		if err == nil {
			err = json.Unmarshal(line, &second)
		}
		if again, _ := json.Marshal(second); err != nil || string(again) != string(line) {
			t.Fatalf("%s, then %s, error %v", line, again, err)
		}
	})
}

// A plugin from before there were several places gets no app that has some, and what it
// made of one is not deployed.
func TestCheckPlaces(t *testing.T) {
	several := protocol.ImagePlaces{{Value: "web.image"}, {Repository: "worker.image.repository", Tag: "worker.image.tag"}}
	own, further := severalImages(), severalImages()
	own.Images, own.Chart.Image = nil, several
	further.Images["worker"] = protocol.AppImage{ImageSource: further.Images["worker"].ImageSource, Chart: several}
	for name, app := range map[string]protocol.AppSpec{"spec.chart.image": own, "spec.images.worker.chart": further} {
		if err := app.Validate(); err != nil {
			t.Fatal(err)
		}
		old := protocol.PluginInfo{Stage: "deploy", Features: []string{protocol.FeatureImages}}
		if err := old.CheckApp(app); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "does not know a list in "+name) {
			t.Errorf("%s: %v", name, err)
		}
		old.Features = append(old.Features, protocol.FeatureImagePlaces)
		if err := old.CheckApp(app); err != nil {
			t.Errorf("%s, with the feature: %v", name, err)
		}
		if err := (protocol.PluginInfo{Stage: "smoke"}).CheckApp(app); err != nil {
			t.Errorf("%s, a stage that has nothing to do with images: %v", name, err)
		}
		set := slices.Clone(several)
		set[1].Digest = "worker.image.digest" // found next to the tag
		for _, places := range []protocol.ImagePlaces{set, set[:1], {set[1], set[1]}} {
			ref := protocol.ChartRef{Image: places, Images: map[string]protocol.ImagePlaces{"worker": places}}
			err := app.CheckPlaces(ref)
			if whole := slices.Equal(places, set); whole != (err == nil) || !whole && (protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), name)) {
				t.Errorf("%s in %s: %v", name, places, err)
			}
		}
	}
}
