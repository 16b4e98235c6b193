package main

import (
	"strings"
	"testing"
	"time"
)

func seconds(times ...float64) series {
	var s series
	for _, t := range times {
		s = append(s, time.Duration(t*float64(time.Second)))
	}
	return s
}

func TestMedian(t *testing.T) {
	if got := median(seconds(9, 1, 2)); got != 2*time.Second {
		t.Errorf("odd: got %s", got)
	}
	if got := median(seconds(4, 1, 2, 9)); got != 3*time.Second {
		t.Errorf("even: got %s", got)
	}
}

// A machine that gets ten times slower on the way changes no ratio.
func TestRatioIsOfPairs(t *testing.T) {
	ours, theirs := seconds(1, 10, 10), seconds(2, 20, 20)
	if got := ratio(ours, theirs); got != 0.5 {
		t.Errorf("ratio %g", got)
	}
	if got := over(theirs, ours); got != 10*time.Second {
		t.Errorf("over %s", got)
	}
}

func TestVerdict(t *testing.T) {
	ours, theirs := seconds(2, 2), seconds(1, 1)
	for name, c := range map[string]struct {
		row  row
		want string
	}{
		"time":              {row{times: ours, budget: budget{time: time.Second}}, "EXCEEDED"},
		"time kept":         {row{times: ours, budget: budget{time: 2 * time.Second}}, "ok"},
		"over":              {row{times: ours, peer: theirs, budget: budget{over: time.Millisecond}}, "EXCEEDED"},
		"ratio":             {row{times: ours, peer: theirs, budget: budget{ratio: 1.5}}, "EXCEEDED"},
		"ratio kept":        {row{times: ours, peer: theirs, budget: budget{ratio: 2}}, "ok"},
		"no budget":         {row{times: ours, peer: theirs}, ""},
		"no peer":           {row{times: ours, budget: budget{ratio: 0.1}, note: "NO DOCKER"}, "NO DOCKER"},
		"memory":            {row{memory: 65 << 20, budget: budget{memory: 64 << 20}}, "EXCEEDED"},
		"memory kept":       {row{memory: 64 << 20, budget: budget{memory: 64 << 20}}, "ok"},
		"no peer, but time": {row{times: ours, budget: budget{time: 1}, note: "NO DOCKER"}, "EXCEEDED"},
	} {
		if got := c.row.verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := table(&out, []row{{what: "a", times: seconds(0.5), against: "b", peer: seconds(1), budget: budget{ratio: 0.4}}}); err != nil {
		t.Fatal(err)
	}
	const want = "a 500 ms b 1000 ms 0.50 -500.0 ms ≤ 0.40 × EXCEEDED"
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end with %q", got, want)
	}
}

func TestTableOfMemory(t *testing.T) {
	var out strings.Builder
	if err := table(&out, []row{{what: "a", memory: 43 << 20, budget: budget{memory: 64 << 20}}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.HasSuffix(got, "a 43 MiB ≤ 64 MiB ok") {
		t.Errorf("got %q", got)
	}
}

func TestChoose(t *testing.T) {
	chosen, err := choose("noop,dispatch")
	if err != nil || len(chosen) != 2 || chosen[0].name != "noop" {
		t.Errorf("got %v, %v", chosen, err)
	}
	if _, err := choose("nonsense"); err == nil {
		t.Error("no error for a section that does not exist")
	}
}

func TestEditChangesTheCode(t *testing.T) {
	t.Chdir("..")
	p, err := newProject(t.Context(), &bench{folder: t.TempDir()}, "copy")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 3 {
		if err := p.edit(); err != nil {
			t.Fatal(err)
		}
		diff, err := output(t.Context(), "git", "-C", p.folder, "diff", "--stat", "-p")
		if err != nil || !strings.Contains(diff, "1 insertion(+), 1 deletion(-)") || seen[diff] {
			t.Fatalf("diff %s, %v", diff, err)
		}
		seen[diff] = true
	}
}
