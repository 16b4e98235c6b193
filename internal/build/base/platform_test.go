package base

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestChoose(t *testing.T) {
	of := func(os, arch, variant string) *ocispec.Platform {
		return &ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
	}
	for name, test := range map[string]struct {
		has  []*ocispec.Platform
		want *ocispec.Platform
		is   int // -1 for none
	}{
		"the same":              {[]*ocispec.Platform{of("linux", "arm64", ""), of("linux", "amd64", "")}, of("linux", "amd64", ""), 1},
		"the usual variant":     {[]*ocispec.Platform{of("linux", "arm64", "v8")}, of("linux", "arm64", ""), 0},
		"another name":          {[]*ocispec.Platform{of("linux", "aarch64", "")}, of("linux", "arm64", ""), 0},
		"the best":              {[]*ocispec.Platform{of("linux", "arm", "v6"), of("linux", "arm", "v7")}, of("linux", "arm", "v7"), 1},
		"an older one":          {[]*ocispec.Platform{of("linux", "arm", "v6")}, of("linux", "arm", "v7"), 0},
		"without a platform":    {[]*ocispec.Platform{nil}, of("linux", "amd64", ""), 0},
		"not the attestation":   {[]*ocispec.Platform{of("unknown", "unknown", ""), of("linux", "amd64", "")}, of("linux", "amd64", ""), 1},
		"rather one that tells": {[]*ocispec.Platform{nil, of("linux", "amd64", "")}, of("linux", "amd64", ""), 1},
		"none":                  {[]*ocispec.Platform{of("linux", "arm64", "")}, of("linux", "amd64", ""), -1},
	} {
		var manifests []ocispec.Descriptor
		for i, p := range test.has {
			manifests = append(manifests, ocispec.Descriptor{Digest: digest.FromString(string(rune('a' + i))), Platform: p})
		}
		got, err := choose(manifests, *test.want)
		if test.is < 0 && err == nil || test.is >= 0 && got != manifests[test.is].Digest {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestFits(t *testing.T) {
	amd64 := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	for _, test := range []struct {
		os, arch string
		want     bool
	}{{"linux", "amd64", true}, {"", "", true}, {"linux", "", true}, {"linux", "arm64", false}, {"windows", "amd64", false}} {
		image := &Image{}
		image.Config.OS, image.Config.Architecture = test.os, test.arch
		if got := image.Fits(amd64); got != test.want {
			t.Errorf("%s/%s: %t", test.os, test.arch, got)
		}
	}
}
