package differential

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestGenerated builds what a generator makes of seeds with both. Variable
// HARMONY_TEST_SEEDS is for other seeds: FIRST COUNT.
func TestGenerated(t *testing.T) {
	registry := os.Getenv("HARMONY_TEST_REGISTRY")
	if registry == "" {
		missing(t, "HARMONY_TEST_REGISTRY")
	}
	first, count := uint64(1), uint64(60)
	if text := os.Getenv("HARMONY_TEST_SEEDS"); text != "" {
		if _, err := fmt.Sscan(text, &first, &count); err != nil {
			t.Fatal(err)
		}
	}
	buildkit := startBuildKit(t, registry)
	base := func(seed uint64) string {
		return fmt.Sprintf("%s/generated-%d:%d", registry, os.Getpid(), seed%10)
	}
	for seed := first; seed < first+10; seed++ { // before any build, for many build on each
		pushBase(t, base(seed), generatedBase(t, seed))
	}
	built := make(chan bool, count)
	t.Run("seed", func(t *testing.T) {
		for seed := first; seed < first+count; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				built <- same(t, buildkit, generate(t, seed, base(seed)))
			})
		}
	})
	close(built)
	done := 0
	for b := range built {
		if b {
			done++
		}
	}
	t.Logf("%d of %d could be built", done, count)
	if done < int(count)/4 {
		t.Errorf("only %d of %d could be built: the generator makes too many mistakes", done, count)
	}
}

// generatedBase is a base image of a few layers.
func generatedBase(t *testing.T, seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 12)), t: t}
	var b strings.Builder
	b.WriteString(one(g, `{}`, `{"Env":["PATH=/bin","A=base"],"User":"web","WorkingDir":"/d"}`, `{"Cmd":["c"],"Entrypoint":["e"],"Env":["B=x"]}`,
		`{"OnBuild":["COPY . /triggered","ENV T=$A"],"Labels":{"a":"base"}}`, `{"WorkingDir":"rel","ExposedPorts":{"1/tcp":{}},"Volumes":{"/v":{}},"StopSignal":"HUP"}`) + "\n")
	b.WriteString("layer\nd 0755 0:0 etc\n- 0644 0:0 etc/passwd web:x:33:34::/:\n- 0644 0:0 etc/group staff:x:50:\n")
	for range g.IntN(4) {
		b.WriteString("layer\n" + g.archive())
		b.WriteString(g.maybe(2, one(g, "- 0644 0:0 .wh.a\n", "- 0644 0:0 d/.wh.b\n", "- 0644 0:0 d/.wh..wh..opq\n", "- 0644 0:0 .wh.d\n")))
	}
	return []byte(b.String())
}

// unknownUser is of what only BuildKit builds: it takes root for a name that it
// does not know.
var unknownUser = regexp.MustCompile(`cannot be looked up|is not in /etc/`)

// dangling is of what only BuildKit refuses: with --exclude and --parents it
// stumbles over links to nothing that are beside what is copied.
var dangling = regexp.MustCompile(`failed to calculate checksum of ref .*: "/.+": not found`)

// same reports whether the images are the same, and not both refused.
func same(t *testing.T, buildkit builder, c testCase) bool {
	t.Helper()
	got, err := daemonlessBuild(t, c)
	if protocol.ExitCode(err) == protocol.ExitUnsupported || err != nil && unknownUser.MatchString(err.Error()) {
		return false
	}
	theirs, theirErr := buildkit.build(t.Context(), c)
	problem := ""
	switch {
	case err != nil && theirErr != nil:
		return false
	case err == nil && theirErr != nil && dangling.MatchString(theirErr.Error()):
		return false
	case theirErr != nil:
		problem = fmt.Sprintf("only BuildKit refuses it: %v", theirErr)
	case err != nil:
		problem = fmt.Sprintf("only daemonless refuses it: %v", err)
	default:
		want, err := read(theirs)
		if err != nil {
			t.Fatalf("image of BuildKit: %v", err)
		}
		have, err := read(got)
		if err != nil {
			t.Fatalf("image of daemonless: %v", err)
		}
		if d := want.difference(have, false); d != "" {
			problem = "- BuildKit, + daemonless:\n" + d
		}
	}
	if problem != "" {
		t.Errorf("%s\nplatform %s target %s args %q\n%s", problem, c.platform, c.target, c.args, shown(t, c.dir))
	}
	return problem == ""
}

// shown is a context in a failure.
func shown(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			fmt.Fprintf(&b, "-- %s --\n%s", name, text)
		}
	}
	b.WriteString("--\n")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		link := ""
		if d.Type() == fs.ModeSymlink {
			link, err = os.Readlink(path)
		}
		fmt.Fprintf(&b, "%v %s %s\n", info.Mode(), name, link)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}
