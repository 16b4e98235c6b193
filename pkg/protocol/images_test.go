package protocol_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func severalImages() protocol.AppSpec {
	stays := false
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "shop", Version: "1.4.0"}, ProjectRoot: "/src",
		Image: protocol.ImageSource{Repository: "fleet/shop", Dockerfile: &protocol.Dockerfile{}},
		Images: map[string]protocol.AppImage{
			"worker":  {ImageSource: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{Context: "worker"}}},
			"migrate": {ImageSource: protocol.ImageSource{Repository: "jobs/migrate", Ref: "ghcr.io/org/migrate:1"}},
			"redis":   {ImageSource: protocol.ImageSource{Ref: "redis:8", Mirror: &stays}},
		},
		Chart: protocol.ChartSource{Path: "chart"},
	}
}

func TestForEachImage(t *testing.T) {
	app := severalImages()
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range app.ForEachImage() {
		if len(one.Images) > 0 || one.ProjectRoot != "/src" || one.Version != "1.4.0" {
			t.Errorf("%+v", one)
		}
		name, image := protocol.SplitImage(one.Name)
		published, err := one.PublishedImage("registry.example.com")
		if name != "shop" || err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got = append(got, one.Name+" "+image+" "+one.ImageField()+" "+published.String())
	}
	want := []string{
		"shop  spec.image registry.example.com/fleet/shop",
		"shop.migrate migrate spec.images.migrate registry.example.com/jobs/migrate",
		"shop.redis redis spec.images.redis docker.io/library/redis",
		"shop.worker worker spec.images.worker registry.example.com/fleet/shop-worker",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAllImages(t *testing.T) {
	ref := protocol.ImageRef{Metadata: protocol.Metadata{Name: "shop"}, Digest: "a", Unchanged: true, Images: map[string]protocol.ImageRef{
		"worker": {Digest: "b", Unchanged: true}, "migrate": {Digest: "c", Unchanged: true},
	}}
	all := ref.All()
	if len(all) != 3 || all[1].Digest != "c" || all[2].Digest != "b" || all[2].Name != "shop" || !ref.AllPinned() || !ref.AllUnchanged() {
		t.Errorf("%+v", all)
	}
	if digests := ref.ImageDigests(); len(digests) != 2 || digests["worker"] != "b" {
		t.Errorf("%v", digests)
	}
	ref.Images["worker"] = protocol.ImageRef{}
	if ref.AllPinned() || ref.AllUnchanged() {
		t.Error("an image that is neither pinned nor unchanged was passed over")
	}
	if digests := (protocol.ImageRef{}).ImageDigests(); digests != nil {
		t.Errorf("%v", digests)
	}
}

// A plugin from before there were images gets no app that has some, if it has to do
// with images at all.
func TestCheckApp(t *testing.T) {
	one := severalImages()
	one.Images = nil
	for _, test := range []struct {
		info  protocol.PluginInfo
		takes bool
	}{
		{protocol.PluginInfo{Stage: "build"}, false},
		{protocol.PluginInfo{Stage: "publish"}, false},
		{protocol.PluginInfo{Stage: "deploy"}, false},
		{protocol.PluginInfo{Stage: "scan", Consumes: []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef}}, false},
		{protocol.PluginInfo{Stage: "wrap", Produces: []protocol.Kind{protocol.KindChartRef}}, false},
		{protocol.PluginInfo{Stage: "smoke", Consumes: []protocol.Kind{protocol.KindAppSpec, protocol.KindDeployResult}}, true},
		{protocol.PluginInfo{Stage: "deploy", Features: []string{"other", protocol.FeatureImages}}, true},
	} {
		err := test.info.CheckApp(severalImages())
		if code := protocol.ExitCode(err); (err == nil) != test.takes || err != nil && code != protocol.ExitUnsupported {
			t.Errorf("%+v: %v, exit code %d", test.info, err, code)
		}
		if err := test.info.CheckApp(one); err != nil {
			t.Errorf("%+v, one image: %v", test.info, err)
		}
	}
}

func TestCheckImages(t *testing.T) {
	app := severalImages()
	held := map[string]bool{"worker": true, "migrate": true, "redis": true}
	has := func(name string) bool { return held[name] }
	if err := app.CheckImages(protocol.KindImageRef, has); err != nil {
		t.Error(err)
	}
	delete(held, "worker")
	err := app.CheckImages(protocol.KindImageRef, has)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), `ImageRef of shop has no image "worker"`) {
		t.Errorf("got %v", err)
	}
}
