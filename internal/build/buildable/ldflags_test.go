package buildable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestLinkerFlags(t *testing.T) {
	for flags, ok := range map[string]bool{
		"-X main.version=1.2":                        true,
		"-X=main.version=1.2 --X main.a=-o":          true,
		"-X 'main.when=today and tomorrow' -s=false": true,
		`"-X=main.a=b c" -w=0 --buildid=`:            true,
		"-buildid|x|-compressdwarf=false":            true,
		"":                                           true,
		"-extld=/evil -linkmode=external":            false,
		"--linkmode=external":                        false,
		"-o=/tmp/x":                                  false,
		"-o|/tmp/x":                                  false,
		"-X main.a=b -o /tmp/x":                      false,
		"-X|main.a=b|--|-o":                          false,
		"-s -o=/x":                                   false,
		"-s false -o=/x":                             false,
		"'-o=/x y'":                                  false,
		"\"-o=/x\"":                                  false,
		"-X 'main.a=b":                               false,
		"-X":                                         false,
		"@flags":                                     false,
		"-X @flags":                                  false,
		"-X|@flags":                                  false,
		"-buildid '@flags'":                          false,
		"main.a":                                     false,
		"---s":                                       false,
		"-":                                          false,
		"-cpuprofile=/x":                             false,
		"-s=/x":                                      false,
		"-X\tmain.a=b\n-extld=/evil":                 false,
		"all=-s":                                     false,
		"cgo|-linkmode=external|-extldflags|-static": true,
		"cgo|-linkmode|auto -extldflags=-static":     true,
		"cgo|-extldflags=-static -Wl,-o,/x":          false,
		"cgo|'-extldflags=-static -Wl,-o,/x'":        false,
		"cgo|-extldflags|@flags":                     false,
		"cgo|-extld=/evil":                           false,
		"cgo|-linkmode=":                             false,
	} {
		t.Run(flags, func(t *testing.T) {
			flags, cgo := strings.CutPrefix(flags, "cgo|")
			_, err := Open(optionsOf(t, protocol.Buildable{Type: "go", LDFlags: strings.Split(flags, "|"), CGO: cgo}, nil))
			if (err == nil) != ok || !ok && (protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "image.buildable.ldflags: ")) {
				t.Errorf("status %d, %v", protocol.ExitCode(err), err)
			}
		})
	}
}

// FuzzLinkerFlags looks for flags that pass although the linker would run or write
// something.
func FuzzLinkerFlags(f *testing.F) {
	for _, seed := range []string{"-X main.a=b", "-X 'main.a=b c' -s", "-extldflags -static", "-s -o=/x", "-X @flags", "{comit} {version}"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, flags string, cgo bool) {
		o := Options{App: protocol.AppSpec{Image: protocol.ImageSource{Buildable: &protocol.Buildable{LDFlags: []string{flags}, CGO: cgo}}}}
		_ = o.checkWords()
		if o.checkLDFlags() != nil {
			return
		}
		words, err := splitFlags(flags)
		if err != nil {
			t.Fatal(err)
		}
		for i, word := range words {
			isValue := i > 0 && (words[i-1] == "-X" || words[i-1] == "--X" || words[i-1] == "-buildid" || words[i-1] == "--buildid")
			name := strings.TrimLeft(word, "-")
			if !isValue && word != name && (strings.HasPrefix(name, "o") || strings.HasPrefix(name, "extld=") || strings.HasPrefix(name, "cpuprofile")) {
				t.Errorf("%q passes with %q", flags, word)
			}
			if strings.HasPrefix(word, "@") {
				t.Errorf("%q passes with a file of flags", flags)
			}
		}
	})
}

// TestCredentialsStayHere looks what the go command and an executable of a
// buildable get to see.
func TestCredentialsStayHere(t *testing.T) {
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "s3cr3t")
	t.Setenv("KEPT", "kept")
	for _, variable := range append(environment(optionsOf(t, protocol.Buildable{Type: "go"}, nil).Platforms[0]), serverEnvironment(optionsOf(t, protocol.Buildable{Type: "go"}, nil).Platforms[0])...) {
		if strings.Contains(variable, "s3cr3t") {
			t.Errorf("the go command gets %s", variable)
		}
	}
	o := optionsOf(t, protocol.Buildable{Type: "go"}, nil)
	script := filepath.Join(t.TempDir(), "harmony-buildable-x")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv >\"$1/env\"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err := program{"harmony-buildable-x", script, programDeadline}.run(t.Context(), o, nil, dir)
	seen, readErr := os.ReadFile(filepath.Join(dir, "env"))
	if err == nil || readErr != nil || strings.Contains(string(seen), "s3cr3t") || !strings.Contains(string(seen), "KEPT=kept") {
		t.Errorf("%v, %v, the executable got\n%s", err, readErr, seen)
	}
}
