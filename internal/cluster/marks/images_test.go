package marks

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	like := protocol.ImageRef{Registry: "localhost:5000", Insecure: true, Location: protocol.InRegistry}
	images := map[string]protocol.ImageRef{
		"worker": {Registry: "localhost:5000", Repository: "shop-worker", Tag: "1.0.0", Digest: digest},
		"proxy":  {Registry: "docker.io", Repository: "library/nginx", Digest: digest},
	}
	text := WriteImages(images)
	if want := "proxy=docker.io/library/nginx@" + digest + ",worker=localhost:5000/shop-worker@" + digest; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	read := ReadImages(text, like)
	worker, proxy := read["worker"], read["proxy"]
	if len(read) != 2 || worker.Digest != digest || !worker.Insecure || proxy.Insecure || proxy.Repository != "library/nginx" || proxy.Location != protocol.InRegistry {
		t.Errorf("got %+v", read)
	}
	for _, text := range []string{"", ",", "worker", "worker=shop", "worker=shop@sha256:x", "A=shop@" + digest, "=shop@" + digest} {
		if read := ReadImages(text, like); read != nil {
			t.Errorf("%q: got %v", text, read)
		}
	}
}

// Anybody may write an annotation: what is read of it is what would be written.
func FuzzReadImages(f *testing.F) {
	f.Add("worker=localhost:5000/shop-worker@sha256:" + strings.Repeat("a", 64))
	f.Add("a=b,c=d@e,=,,a=b")
	f.Fuzz(func(t *testing.T, text string) {
		read := ReadImages(text, protocol.ImageRef{})
		if again := ReadImages(WriteImages(read), protocol.ImageRef{}); len(again) != len(read) {
			t.Fatalf("%q: %v, and then %v", text, read, again)
		}
	})
}
