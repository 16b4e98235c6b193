// Package status shows what runs where: one entry for each place of an app, read
// from the cluster alone.
package status

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Entry is an app in one place.
type Entry struct {
	App    string `json:"app"`
	Target string `json:"target"`
	// Context is the kubeconfig context, where one was named.
	Context string `json:"context,omitempty"`
	// Device is the group or the device of an edgeDevice target.
	Device    string `json:"device,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Adapter is what delivers it: helm, flux, argocd or edge; empty when nothing
	// does.
	Adapter string `json:"adapter,omitempty"`
	// Object is the release, the HelmRelease, the Application, or the artifact that
	// devices pull.
	Object string `json:"object,omitempty"`
	// Version is the app's, and Revision the number of the Helm release.
	Version  string `json:"version,omitempty"`
	Revision int    `json:"revision,omitempty"`
	// Image and Chart are digests, where they are known.
	Image string `json:"image,omitempty"`
	Chart string `json:"chart,omitempty"`
	// Images are the digests of the app's further images, by their names.
	Images map[string]string `json:"images,omitempty"`
	// Since is when this was delivered, in UTC.
	Since *time.Time `json:"since,omitempty"`
	// State is the adapter's own word: deployed, failed, Synced, …; absent when
	// the app is not there.
	State   string `json:"state"`
	Healthy bool   `json:"healthy"`
	// Drift names what somebody changed by hand.
	Drift []string `json:"drift,omitempty"`
	// Message says what is wrong, when it is not healthy.
	Message string `json:"message,omitempty"`

	// Reference is the whole name of the image that a controller is configured to run,
	// References are those of the further images, as their mark has them, and
	// DriftIgnore are the JSON pointers of fields that others may change: for those who
	// look closer.
	Reference   string   `json:"-"`
	References  string   `json:"-"`
	DriftIgnore []string `json:"-"`
}

// Annotated takes what harmony wrote onto an object: the release that it runs.
func (e *Entry) Annotated(notes map[string]string) {
	e.Reference, e.References, e.Version = notes[marks.Image], notes[marks.Images], notes[marks.Version]
	e.Image = e.Reference[strings.LastIndex(e.Reference, "@")+1:]
	e.Images = Digests(e.References)
}

// Digests are those of further images, as their mark has them.
func Digests(images string) map[string]string {
	return protocol.ImageRef{Images: marks.ReadImages(images, protocol.ImageRef{})}.ImageDigests()
}

// images are the digests for people: that of the app's own image, and the further
// ones with their names.
func (e Entry) images() string {
	text := dash(short(e.Image))
	for _, name := range slices.Sorted(maps.Keys(e.Images)) {
		text += ", " + name + " " + short(e.Images[name])
	}
	return text
}

// Absent is the state of an app that is not there, and Unknown that of one whose
// place cannot be read.
const (
	Absent  = "absent"
	Unknown = "unknown"
)

// Published is the state of what devices are to run, and have not all
// reported to run.
const Published = "published"

// Merge adds entries that tell more: one of the same object takes the place of
// the other, and an app that is somewhere is not absent.
func Merge(entries, more []Entry) []Entry {
	merged := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		return slices.ContainsFunc(more, func(m Entry) bool {
			return m.Context == e.Context && m.State != Absent && (e.State == Absent || e.Object == m.Object)
		})
	})
	for _, m := range more {
		there := slices.ContainsFunc(merged, func(e Entry) bool { return e.Context == m.Context })
		if m.State != Absent || !there {
			merged = append(merged, m)
		}
	}
	return merged
}

// Sort orders entries by app, target and context.
func Sort(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Context, b.Context), cmp.Compare(a.Object, b.Object))
	})
}

// Table writes the entries for people; now is what ages are counted to.
func Table(w io.Writer, entries []Entry, now time.Time) error {
	rows := [][]string{{"APP", "TARGET", "WHERE", "ADAPTER", "VERSION", "IMAGE", "AGE", "STATE", "HEALTHY", "DRIFT", "MESSAGE"}}
	for _, e := range entries {
		message, _, _ := strings.Cut(e.Message, "\n")
		rows = append(rows, []string{
			e.App, e.Target, strings.TrimPrefix(cmp.Or(e.Context, e.Device)+"/"+e.Namespace, "/"), dash(e.Adapter), dash(e.Version), e.images(),
			dash(age(e.Since, now)), e.State, e.healthy(), dash(strings.Join(e.Drift, ", ")), message,
		})
	}
	return term.Table(w, rows)
}

func dash(s string) string { return cmp.Or(s, "-") }

// healthy is "-" where nothing is known of it.
func (e Entry) healthy() string {
	switch {
	case e.Healthy:
		return "yes"
	case e.State == Published || e.State == Unknown || e.State == Absent:
		return "-"
	}
	return "no"
}

func short(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 12)]
}

func age(since *time.Time, now time.Time) string {
	if since == nil {
		return ""
	}
	switch d := now.Sub(*since); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
