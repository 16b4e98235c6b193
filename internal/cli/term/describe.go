package term

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Describe summarizes a result document in a few words, in one line.
func Describe(s protocol.Spec) string {
	text := string(s.DocumentKind())
	switch d := s.(type) {
	case protocol.ImageRef:
		text = describeImage(d)
	case protocol.ChartRef:
		text = describeChart(d)
	case protocol.DeployResult:
		text = describeDeploy(d)
	case protocol.SmokeReport:
		text = describeSmoke(d)
	case protocol.MigrationReport:
		text = FirstLine(d.Summary)
	case protocol.Result:
		if text = FirstLine(d.Summary); d.Summary == "" {
			text = action(d.Unchanged, d.Planned, "made a", "would make a") + " " + string(d.Kind)
		}
	case protocol.Failure:
		text = "failed: " + FirstLine(d.Message)
	}
	return OneLine(text)
}

func describeImage(d protocol.ImageRef) string {
	done, would := "built", "would build"
	if d.Location == protocol.InRegistry {
		done, would = "pushed", "would push"
	}
	if d.Location == protocol.InNodes {
		done, would = "imported", "would import"
	}
	name := d.Name
	if d.Registry != "" {
		name = d.FullName()
		if d.Tag != "" {
			name += ":" + d.Tag
		}
	}
	text := action(d.Unchanged, d.Planned, done, would) + " image " + name + short(cmp.Or(d.Digest, d.ID))
	for _, further := range slices.Sorted(maps.Keys(d.Images)) {
		image := d.Images[further]
		text += ", " + action(image.Unchanged, image.Planned, done, would) + " " + further + short(cmp.Or(image.Digest, image.ID))
	}
	return text
}

func describeChart(d protocol.ChartRef) string {
	done, would := "pushed", "would push"
	where := strings.TrimPrefix(d.URL, "oci://")
	if d.URL == "" {
		done, would, where = "packaged", "would package", d.Chart
	}
	return action(d.Unchanged, d.Planned, done, would) + " chart " + where + ":" + d.ChartVersion + short(d.Digest)
}

func describeDeploy(d protocol.DeployResult) string {
	if d.Published != nil {
		return describePublished(d)
	}
	text := strings.ReplaceAll(string(d.Outcome), "given-back", "given back")
	if d.Outcome == protocol.OutcomeAbsent {
		text = "not installed"
	}
	if d.Planned && d.Outcome != protocol.OutcomeUnchanged {
		text = map[protocol.Outcome]string{
			protocol.OutcomeInstalled: "would install", protocol.OutcomeUpgraded: "would upgrade",
			protocol.OutcomeRemoved: "would remove", protocol.OutcomeAbsent: "not installed", protocol.OutcomeGivenBack: "would give back",
		}[d.Outcome]
	}
	where := " in "
	if d.Outcome == protocol.OutcomeRemoved {
		where = " from "
	}
	if d.Namespace != "" {
		text += where + d.Namespace
	}
	if d.Cluster != "" {
		text += " of " + d.Cluster
	}
	if d.Revision > 0 {
		text += fmt.Sprintf(", revision %d", d.Revision)
	}
	if d.RunningVersion != "" {
		text += ", to " + d.RunningVersion
	}
	if d.Adopted != "" {
		text += ", adopted from " + d.Adopted
	}
	if d.Clusters != nil {
		text += " of " + describeClusters(*d.Clusters)
	}
	if d.Message != "" {
		text += ": " + FirstLine(d.Message)
	}
	return text
}

// describePublished is the release that devices should run, and their reports.
func describePublished(d protocol.DeployResult) string {
	p := *d.Published
	where := " " + strings.TrimPrefix(p.URL, "oci://") + short(p.Digest)
	if p.Tombstone && d.Outcome == protocol.OutcomePublished && !(p.Unchanged && d.Planned) {
		where = " a tombstone:" + where
	}
	if d.Planned {
		return action(p.Unchanged, true, "", "would publish") + where
	}
	text := string(d.Outcome) + where
	if p.Unchanged && d.Outcome == protocol.OutcomePublished {
		text = "unchanged, published" + where
	}
	if p.Total == 0 {
		return text + "; " + cmp.Or(p.Waits, "no device reports")
	}
	if p.Tombstone {
		return text + fmt.Sprintf("; the app is gone from %d of %d devices", p.Ready, p.Total)
	}
	text += fmt.Sprintf("; %d of %d devices are ready", p.Ready, p.Total)
	if p.Waits != "" {
		text += "; " + p.Waits
	}
	return text
}

// describeClusters counts the clusters of a target.
func describeClusters(n protocol.ClusterCount) string {
	text := fmt.Sprintf("%d clusters", n.Total)
	if n.Total == 1 {
		text = "1 cluster"
	}
	var parts []string
	for _, part := range []struct {
		count   int
		outcome protocol.Outcome
	}{
		{n.Installed, protocol.OutcomeInstalled}, {n.Upgraded, protocol.OutcomeUpgraded}, {n.Unchanged, protocol.OutcomeUnchanged},
		{n.RolledBack, protocol.OutcomeRolledBack}, {n.Failed, protocol.OutcomeFailed}, {n.Skipped, protocol.OutcomeSkipped}, {n.Paused, protocol.OutcomePaused},
		{n.Removed, protocol.OutcomeRemoved}, {n.Absent, protocol.OutcomeAbsent}, {n.GivenBack, protocol.OutcomeGivenBack},
	} {
		if part.count > 0 && part.count != n.Total {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.outcome))
		}
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

func describeSmoke(d protocol.SmokeReport) string {
	passed := 0
	for _, check := range d.Checks {
		if check.Status == protocol.CheckPassed {
			passed++
		}
	}
	switch {
	case d.Planned:
		return fmt.Sprintf("would run %d checks", len(d.Checks))
	case len(d.Checks) == 0:
		return "no checks"
	}
	return fmt.Sprintf("%d of %d checks passed", passed, len(d.Checks))
}

func action(unchanged, planned bool, done, would string) string {
	switch {
	case unchanged:
		return "unchanged"
	case planned:
		return would
	}
	return done
}

// short is the beginning of a digest, enough to distinguish it.
func short(digest string) string {
	if digest == "" {
		return ""
	}
	return "@" + digest[:min(len(digest), len("sha256:")+12)]
}

func checkMark(p palette, status protocol.CheckStatus) coloured {
	switch status {
	case protocol.CheckPassed:
		return p.green("✔")
	case protocol.CheckFailed:
		return p.red("✗")
	}
	return p.yellow("-")
}

func checkLine(c protocol.CheckResult) string {
	name := c.Name
	if c.Cluster != "" {
		name = c.Cluster + ": " + name
	}
	line := fmt.Sprintf("%s (%s)", name, c.Type)
	if c.Duration > 0 {
		line += " " + seconds(time.Duration(c.Duration))
	}
	if c.Message != "" {
		line += ": " + c.Message
	}
	return OneLine(line)
}

// amount is the progress of an event: "12.0 of 64.0 MiB", "2 of 3 pods".
func amount(e protocol.Event) string {
	switch {
	case e.Total <= 0 && e.Current <= 0:
		return ""
	case e.Unit == "bytes" && e.Total > 0:
		return fmt.Sprintf("%s of %s", Bytes(e.Current), Bytes(e.Total))
	case e.Unit == "bytes":
		return Bytes(e.Current)
	case e.Total > 0:
		return fmt.Sprintf("%d of %d %s", e.Current, e.Total, e.Unit)
	}
	return fmt.Sprintf("%d %s", e.Current, e.Unit)
}

// Bytes prints a size in binary units.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exponent := float64(n)/unit, 0
	for value >= unit && exponent < 3 {
		value /= unit
		exponent++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[exponent])
}

// Table writes rows in columns, the first row as the heading.
func Table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(Clean(row[i]))
		}
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
