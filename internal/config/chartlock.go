package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// LockFile is the name of the file next to harmony.yaml that pins the charts of others.
const LockFile = "harmony.lock"

// KindChartLock is the kind of that file's document.
const KindChartLock protocol.Kind = "ChartLock"

// ChartLock is the content of a harmony.lock.
type ChartLock struct {
	protocol.Metadata `json:"-"`
	// Charts are sorted by app.
	Charts []AppChart `json:"charts"`
}

// AppChart is the chart of an app, as its chart.url names it, and what it is pinned to.
type AppChart struct {
	App string `json:"app"`
	URL string `json:"url"`
	// Name is that of the chart in the repository of an https URL.
	Name    string `json:"name,omitempty"`
	Version string `json:"version"`
	protocol.LockedChart
}

// DocumentKind implements [protocol.Spec].
func (ChartLock) DocumentKind() protocol.Kind { return KindChartLock }

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (l ChartLock) Validate() error {
	var found protocol.FieldErrors
	for i, c := range l.Charts {
		at := fmt.Sprintf("spec.charts[%d]", i)
		add := func(field, problem string) {
			if problem != "" {
				found = append(found, protocol.FieldError{Field: at + "." + field, Problem: problem})
			}
		}
		switch {
		case !protocol.ValidName(c.App):
			add("app", fmt.Sprintf("%q is not an app's name", c.App))
		case i > 0 && l.Charts[i-1].App >= c.App:
			add("app", "charts must be sorted by app, without duplicates")
		}
		add(protocol.ChartSource{URL: c.URL, Name: c.Name, Version: c.Version}.ValidPublished())
		add(c.LockedChart.Valid())
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// Of is the entry of an app.
func (l ChartLock) Of(app string) (AppChart, bool) {
	i := slices.IndexFunc(l.Charts, func(c AppChart) bool { return c.App == app })
	if i < 0 {
		return AppChart{}, false
	}
	return l.Charts[i], true
}

// ParseLock reads the text of a harmony.lock strictly; name is the file's for messages.
func ParseLock(name string, data []byte) (ChartLock, error) { return ParseOne[ChartLock](name, data) }

// ReadLock reads the harmony.lock in a folder. Without one it is empty.
func ReadLock(folder string) (ChartLock, error) {
	file := filepath.Join(folder, LockFile)
	data, err := readLimited(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ChartLock{}, nil
	case err != nil:
		return ChartLock{}, protocol.Invalid("read %s: %w", displayName(file), err)
	}
	return ParseLock(displayName(file), data)
}

const lockHeading = "# Written by 'harmony lock'. A release takes no other bytes for these charts.\n"

// Text is the lock as the text of its file. The same lock makes the same bytes.
func (l ChartLock) Text() ([]byte, error) {
	l.Charts = slices.SortedFunc(slices.Values(l.Charts), func(a, b AppChart) int { return strings.Compare(a.App, b.App) })
	if l.Charts == nil {
		l.Charts = []AppChart{}
	}
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", LockFile, err)
	}
	text, err := Encode(l)
	return append([]byte(lockHeading), text...), err
}

// Write writes the harmony.lock of a folder in one step, if that changes it. It reports
// whether it does.
func (l ChartLock) Write(folder string) (changed bool, err error) {
	text, err := l.Text()
	if err != nil {
		return false, err
	}
	file := filepath.Join(folder, LockFile)
	old, err := os.ReadFile(file)
	missing := errors.Is(err, fs.ErrNotExist)
	if err == nil && bytes.Equal(old, text) || missing && len(l.Charts) == 0 {
		return false, nil
	}
	if err := atomicfile.Write(file, text, 0o644); err != nil {
		return false, fmt.Errorf("write %s: %w", displayName(file), err)
	}
	return true, nil
}

// attachLocks puts what harmony.lock has of the charts of others into the apps.
func attachLocks(root string, documents []document, p *problems) error {
	var lock *ChartLock
	for _, d := range documents {
		app, ok := d.spec.(*protocol.AppSpec)
		if !ok || app.Chart.URL == "" {
			continue
		}
		const field = "spec.chart.locked"
		if app.Chart.Locked != nil {
			p.add(d.line(field), field, "does not belong here: 'harmony lock' writes it into %s", LockFile)
			continue
		}
		if lock == nil {
			read, err := ReadLock(root)
			if err != nil {
				return err
			}
			lock = &read
		}
		if c, ok := lock.Of(app.Name); ok && c.isOf(app.Chart) {
			locked := c.LockedChart
			app.Chart.Locked = &locked
		}
	}
	return nil
}

// isOf reports that the entry is about the chart as harmony.yaml names it.
func (c AppChart) isOf(chart protocol.ChartSource) bool {
	return c.URL == chart.URL && c.Name == chart.Name && c.Version == chart.Version && (chart.Keyring == "" || c.Signer != "")
}

// Locked fails for apps whose chart of others is not in the lock, as harmony.yaml names it.
func Locked(apps []protocol.AppSpec) error {
	var names []string
	for _, app := range apps {
		if app.Chart.URL != "" && app.Chart.Locked == nil {
			names = append(names, fmt.Sprintf("%s (%s %s)", app.Name, app.Chart.PublishedName(), app.Chart.Version))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return protocol.Invalid("%s does not have the chart of %s, as spec.chart names it", LockFile, strings.Join(names, ", ")).
		WithHint("run harmony lock, and commit %s", LockFile)
}
