package version_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/project/version"
)

// Over random histories with branches, merges and tags, the nearest release of each app is
// the one that git describe finds.
func TestDescribeAgreesWithGit(t *testing.T) {
	apps := []string{"a", "b", "a-v2", "never"}
	for seed := range uint64(6) {
		r := newRepository(t)
		random := rand.New(rand.NewPCG(seed, 0))
		heads := []string{""}
		var script strings.Builder
		script.WriteString("set -e\ntree=$(git write-tree)\n")
		for i := range 60 {
			// Seconds apart, so that the order of the commits is the same for both.
			fmt.Fprintf(&script, "export GIT_COMMITTER_DATE='%d +0000'\n", 1700000000+i)
			parents := heads[random.IntN(len(heads))]
			if other := heads[random.IntN(len(heads))]; other != parents && random.IntN(3) == 0 {
				parents += other
			}
			fmt.Fprintf(&script, "c%d=$(git commit-tree -m %[1]d %s $tree)\n", i, parents)
			heads = append(heads, fmt.Sprintf(" -p $c%d", i))
			heads = heads[max(1, len(heads)-4):]
			if random.IntN(5) == 0 {
				fmt.Fprintf(&script, "git tag %s %s-v1.%d.0 $c%[3]d\n", []string{"", "-a -m x"}[random.IntN(2)], apps[random.IntN(3)], i)
			}
		}
		script.WriteString("git update-ref HEAD $c59\n")
		cmd := exec.Command("sh", "-c", script.String())
		cmd.Dir = r.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		// One without a release has all commits visited; the others stop earlier.
		for _, some := range [][]string{apps, apps[:3], apps[:1], apps[1:2]} {
			described, err := version.Describe(t.Context(), r.dir, some)
			if err != nil {
				t.Fatal(err)
			}
			for i, app := range some {
				if want := r.gitDescribe(app); !strings.HasPrefix(described[i].Version, want) {
					t.Errorf("seed %d: %s of %v is %s, git describe says %s", seed, app, some, described[i].Version, want)
				}
			}
		}
	}
}

// gitDescribe is the beginning of the version that git describe finds.
func (r repository) gitDescribe(app string) string {
	r.Helper()
	cmd := exec.Command("git", "describe", "--tags", "--long", "--abbrev=12", "--match", app+"-v1.*")
	cmd.Dir = r.dir
	out, err := cmd.Output()
	if err != nil {
		return "0.0.0-dev."
	}
	match := regexp.MustCompile(`-v1\.([0-9]+)\.0-([0-9]+)-g`).FindSubmatch(out)
	if match == nil {
		r.Fatalf("git describe: %s", out)
	}
	if string(match[2]) == "0" {
		return fmt.Sprintf("1.%s.0", match[1])
	}
	return fmt.Sprintf("1.%s.1-dev.%s.g", match[1], match[2])
}
