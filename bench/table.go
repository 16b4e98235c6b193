package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// budget is what a measurement may be; a zero field sets no limit.
type budget struct {
	time  time.Duration // at most
	over  time.Duration // at most that much longer than the peer
	ratio float64       // at most that many times the peer's time
	// memory is the most that it may take, in bytes.
	memory int64
}

// row is one line of the table.
type row struct {
	what    string
	times   series
	against string
	peer    series // nil when there is none
	budget  budget
	// memory, in bytes, is what a row without times shows.
	memory int64
	// note says why there is no peer, if there should be one.
	note string
}

// compare makes a row for each peer, which all have the same budget.
func compare(what string, times series, budget budget, names []string, peers []series) []row {
	var rows []row
	for i, peer := range peers {
		rows = append(rows, row{what: what, times: times, against: names[i], peer: peer, budget: budget})
	}
	return rows
}

// exceeded reports whether the measurement is beyond its budget.
func (r row) exceeded() bool {
	b := r.budget
	if b.memory > 0 && r.memory > b.memory {
		return true
	}
	if b.time > 0 && median(r.times) > b.time {
		return true
	}
	if len(r.peer) == 0 {
		return false
	}
	return b.over > 0 && over(r.times, r.peer) > b.over || b.ratio > 0 && ratio(r.times, r.peer) > b.ratio
}

func (b budget) String() string {
	var parts []string
	if b.time > 0 {
		parts = append(parts, "≤ "+milliseconds(b.time))
	}
	if b.over > 0 {
		parts = append(parts, "≤ +"+milliseconds(b.over))
	}
	if b.ratio > 0 {
		parts = append(parts, fmt.Sprintf("≤ %.2f ×", b.ratio))
	}
	if b.memory > 0 {
		parts = append(parts, "≤ "+bytes(b.memory))
	}
	return strings.Join(parts, ", ")
}

// measured is the row's own number.
func (r row) measured() string {
	if len(r.times) == 0 {
		return bytes(r.memory)
	}
	return milliseconds(median(r.times))
}

func (r row) cells() []string {
	cells := []string{r.what, r.measured(), r.against, "", "", "", r.budget.String(), r.verdict()}
	if len(r.peer) > 0 {
		copy(cells[3:], []string{
			milliseconds(median(r.peer)),
			fmt.Sprintf("%.2f", ratio(r.times, r.peer)),
			fmt.Sprintf("%+.1f ms", inMilliseconds(over(r.times, r.peer))),
		})
	}
	return cells
}

func (r row) verdict() string {
	switch {
	case r.exceeded():
		return "EXCEEDED"
	case r.note != "":
		return r.note
	case r.budget != (budget{}):
		return "ok"
	}
	return ""
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func milliseconds(d time.Duration) string {
	if d >= 100*time.Millisecond {
		return fmt.Sprintf("%.0f ms", inMilliseconds(d))
	}
	return fmt.Sprintf("%.1f ms", inMilliseconds(d))
}

// bytes is a size for people.
func bytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}

func table(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MEASURED\tMEDIAN\tAGAINST\tMEDIAN\tRATIO\tOVER\tBUDGET\t")
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	return t.Flush()
}

// host says what the numbers were taken on.
func host() string {
	return fmt.Sprintf("%s, %s/%s, %d cores, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateTime))
}

// machine says how busy the machine is, if the system reports it.
func machine() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load " + strings.Join(strings.Fields(string(load))[:3], " ")
}
