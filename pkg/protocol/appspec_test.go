package protocol_test

import (
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestChartImagePrints(t *testing.T) {
	for _, test := range []struct {
		image          protocol.ChartImage
		places, config string
	}{
		{protocol.ChartImage{}, "the chart's templates", "{}"},
		{protocol.ChartImage{Value: "image"}, ".Values.image", "{value: image}"},
		{protocol.ChartImage{Repository: "a.repository", Tag: "a.tag"}, ".Values.a.repository and .Values.a.tag", "{repository: a.repository, tag: a.tag}"},
		{protocol.ChartImage{Registry: "r", Repository: "n", Tag: "t", Digest: "d"}, ".Values.n and .Values.d", "{registry: r, repository: n, tag: t, digest: d}"},
	} {
		if got := test.image.Places(); got != test.places {
			t.Errorf("places %q, want %q", got, test.places)
		}
		if got := test.image.String(); got != test.config {
			t.Errorf("prints as %q, want %q", got, test.config)
		}
	}
}
