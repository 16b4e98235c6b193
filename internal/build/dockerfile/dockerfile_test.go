package dockerfile

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
