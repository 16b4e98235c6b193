package dockerfile

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

func TestImages(t *testing.T) {
	const stages = "ARG TAG=3\nFROM --platform=$BUILDPLATFORM golang:1 AS build\nRUN --mount=type=bind,from=tools:9,target=/t go build\n" +
		"FROM unused AS other\nFROM alpine:$TAG\nCOPY --from=build /a /a\nCOPY --from=0 /b /b\nCOPY --from=nginx:2 /c /c\n"
	tests := map[string]struct {
		text    string
		context Context
		want    string
	}{
		"reachable stages only": {stages, Context{}, "alpine:3@5 golang:1@2 tools:9@3 nginx:2@8"},
		"a target":              {stages, Context{Target: "build"}, "golang:1@2 tools:9@3"},
		"an argument":           {stages, Context{Args: map[string]string{"TAG": "edge"}, Target: "2"}, "alpine:edge@5 golang:1@2 tools:9@3 nginx:2@8"},
		"a folder as a context": {stages, Context{Contexts: map[string]string{"nginx:2": "/x", "build": "/y"}}, "alpine:3@5"},
		"an image as a context": {stages, Context{Contexts: map[string]string{"build": "docker-image://other:1"}}, "alpine:3@5 nginx:2@8 other:1@0"},
		"scratch":               {"FROM scratch\nFROM scratch\nCOPY --from=0 / /\n", Context{}, ""},
		"the platform":          {"FROM base-$TARGETARCH\n", Context{}, "base-amd64@1"},
		"another frontend":      {"# syntax=example.com/f:1\nwhatever\n", Context{}, "example.com/f:1@1"},
		"docker's frontend":     {"# syntax=docker/dockerfile:1\nFROM a\n", Context{}, "a@2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, err := Parse("Dockerfile", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			images, err := file.Images(amd64, test.context)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range images {
				got = append(got, fmt.Sprintf("%s@%d", i.Name, i.Line))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("images %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzImages reads whatever it is given. Nothing may panic, and each error has a
// place and a status of its own.
func FuzzImages(f *testing.F) {
	for _, seed := range []string{
		"FROM a\nRUN --mount=from=b,target=/x c", "ARG A=b\nFROM ${A:-x} AS y\nFROM y\nCOPY --from=9 a b", "# syntax=x\n", "# escape=`\nFROM a `\n AS b",
		"FROM a\nCOPY <<EOF /x\n$y\nEOF", "FROM $A", "FROM a AS 1\nFROM 1",
	} {
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, text, target string) {
		file, err := Parse("Dockerfile", []byte(text))
		if err == nil {
			_, err = file.Images(amd64, Context{Target: target})
		}
		if err != nil && (protocol.ExitCode(err) != protocol.ExitInvalid || !strings.HasPrefix(err.Error(), "Dockerfile:")) {
			t.Errorf("status %d: %v", protocol.ExitCode(err), err)
		}
	})
}

func TestParsePlatform(t *testing.T) {
	for name, want := range map[string]string{
		"linux/aarch64": "linux/arm64", "linux/x86_64": "linux/amd64", "Linux/AMD64": "linux/amd64", "arm64": "linux/arm64",
		"linux/arm64/v8": "linux/arm64", "linux/arm": "linux/arm/v7", "armhf": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "macos/arm64": "darwin/arm64",
		"linux/bogus": "", "bogus": "", "bogus/amd64": "", "linux/amd64/v2/x": "", "": "", "linux/": "", "linux/linux": "", "amd64/amd64": "",
	} {
		p, err := ParsePlatform(name)
		if got := ocilayout.PlatformString(p); err == nil && got != want || err != nil && (want != "" || protocol.ExitCode(err) != protocol.ExitInvalid) {
			t.Errorf("%q: %s, %v; want %q", name, got, err, want)
		}
	}
}

// TestStagesThatCannotBe are refused without a look at a registry.
func TestStagesThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"FROM scratch AS one\nCOPY --from=two /b /b\nFROM scratch AS two\nCOPY f /b\nFROM one": "Dockerfile:2: --from=two: the stage needs to be defined before",
		"FROM scratch AS one\nCOPY --from=one /b /b":                                           "Dockerfile:2: --from=one: circular dependency",
		"FROM scratch AS one\nCOPY --from=0 /b /b":                                             "Dockerfile:2: --from=0: circular dependency",
		"FROM scratch AS one\nRUN --mount=type=bind,from=one,target=/x y":                      "Dockerfile:2: --from=one: circular dependency",
		"FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\nFROM a":   "circular dependency",
		"FROM scratch\nCOPY --from=3 / /\nFROM scratch":                                        "Dockerfile:2: --from=3: no earlier stage",
		"FROM scratch AS base\nFROM Base":                                                      "Dockerfile:2: Base: invalid reference format",
	} {
		file, err := Parse("Dockerfile", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = file.Images(amd64, Context{}); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: status %d, %v; want %q", text, protocol.ExitCode(err), err, want)
		}
	}
}
