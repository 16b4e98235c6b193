package protocol_test

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

var (
	digest    = "sha256:" + strings.Repeat("a", 64)
	longName  = strings.Repeat("a", 255)
	longTag   = strings.Repeat("t", 128)
	imageRefs = []struct {
		text string
		want protocol.ImageRef
	}{
		{"operator", protocol.ImageRef{Repository: "operator"}},
		{"operator:1.4.0", protocol.ImageRef{Repository: "operator", Tag: "1.4.0"}},
		{"fleet/operator@" + digest, protocol.ImageRef{Repository: "fleet/operator", Digest: digest}},
		{"fleet/operator:1.4.0@" + digest, protocol.ImageRef{Repository: "fleet/operator", Tag: "1.4.0", Digest: digest}},
		{"localhost/operator", protocol.ImageRef{Registry: "localhost", Repository: "operator"}},
		{"localhost:5001/fleet/operator:1.4.0", protocol.ImageRef{Registry: "localhost:5001", Repository: "fleet/operator", Tag: "1.4.0"}},
		{"registry.example.com:443/a/b/c/d:x@" + digest, protocol.ImageRef{Registry: "registry.example.com:443", Repository: "a/b/c/d", Tag: "x", Digest: digest}},
		{"Registry.Example.com/a", protocol.ImageRef{Registry: "Registry.Example.com", Repository: "a"}},
		{"10.0.0.1/a", protocol.ImageRef{Registry: "10.0.0.1", Repository: "a"}},
		{"[::1]:5001/a:t", protocol.ImageRef{Registry: "[::1]:5001", Repository: "a", Tag: "t"}},
		{"[fd00::1]/a", protocol.ImageRef{Registry: "[fd00::1]", Repository: "a"}},
		{"host:5000", protocol.ImageRef{Repository: "host", Tag: "5000"}},
		{"a_b/c__d/e-f/g--h/i.j", protocol.ImageRef{Repository: "a_b/c__d/e-f/g--h/i.j"}},
		{longName, protocol.ImageRef{Repository: longName}},
		{"a:" + longTag, protocol.ImageRef{Repository: "a", Tag: longTag}},
	}
)

func TestParseImageRef(t *testing.T) {
	for _, test := range imageRefs {
		got, err := protocol.ParseImageRef(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got.Registry != test.want.Registry || got.Repository != test.want.Repository || got.Tag != test.want.Tag || got.Digest != test.want.Digest {
			t.Errorf("%s: %+v, want %+v", test.text, got, test.want)
		}
		if got.String() != test.text {
			t.Errorf("%s prints as %s", test.text, got)
		}
	}
}

func TestParseImageRefErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     `repository ""`,
		"Operator":                             `repository "Operator"`,
		"a//b":                                 `repository "a//b"`,
		"/a":                                   `repository "/a"`,
		"a/":                                   `repository "a/"`,
		"a___b":                                `repository "a___b"`,
		"a..b":                                 `repository "a..b"`,
		"a b":                                  `repository "a b"`,
		"../a":                                 `registry ".."`,
		"-host.x/a":                            `registry "-host.x"`,
		"host:port/a":                          `registry "host:port"`,
		"host:123456/a":                        `registry "host:123456"`,
		"localhost:5001/":                      `repository ""`,
		"https://host/a":                       `registry "https:"`,
		"a:":                                   `tag ""`,
		"a:-x":                                 `tag "-x"`,
		"a:x+y":                                `tag "x+y"`,
		"a:t" + longTag:                        `tag "t`,
		"a@":                                   `digest ""`,
		"a@sha256:abc":                         `digest "sha256:abc"`,
		"a@" + strings.ToUpper(digest):         `digest "SHA256:`,
		"a@" + digest + "@" + digest:           `digest "sha256:`,
		"a@sha512:" + strings.Repeat("a", 128): `digest "sha512:`,
		"a" + longName:                         "name is over 255 characters",
		"a\n":                                  `repository "a\n"`,
	} {
		if got, err := protocol.ParseImageRef(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, error %v, want one with %s", text, got, err, want)
		}
	}
}

func FuzzImageRef(f *testing.F) {
	for _, test := range imageRefs {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := protocol.ParseImageRef(text)
		if err != nil {
			return
		}
		if ref.String() != text {
			t.Errorf("%q prints as %q", text, ref)
		}
		if again, err := protocol.ParseImageRef(ref.String()); err != nil || again.FullName() != ref.FullName() {
			t.Errorf("%q: read again %+v, error %v", text, again, err)
		}
		if ref.Repository == "" || strings.Contains(ref.Repository, "..") || strings.ContainsAny(text, " \r\n\x00") {
			t.Errorf("%q passes as %+v", text, ref)
		}
	})
}

func TestTagOf(t *testing.T) {
	if got := protocol.TagOf("1.4.0-rc.1+build.5"); got != "1.4.0-rc.1_build.5" {
		t.Error(got)
	}
}
