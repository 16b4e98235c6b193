package buildable

import (
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
	} {
		t.Run(flags, func(t *testing.T) {
			_, err := Open(optionsOf(t, protocol.Buildable{Type: "go", LDFlags: strings.Split(flags, "|")}, nil))
			if (err == nil) != ok || !ok && (protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "image.buildable.ldflags: ")) {
				t.Errorf("status %d, %v", protocol.ExitCode(err), err)
			}
		})
	}
}
