// Package doctor looks for problems of a user's plugins: of PATH, of the files on
// it, of what was installed, and of what the project pins.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Subject is what it is about: PATH, a plugin's name, a file.
	Subject string `json:"subject"`
	Problem string `json:"problem"`
	// Advice says what to do; it may be empty.
	Advice string `json:"advice,omitempty"`
}

// Doctor looks. It runs describe of the plugins that are installed or pinned,
// and nothing else.
type Doctor struct {
	Finder    discovery.Finder
	Store     store.Store
	Describer discovery.Describer
	// Suite is the folder of harmony itself, or empty.
	Suite string
	// Check holds the project's lock file; its File is empty without one.
	Check lock.Check
}

// Examine returns all findings.
func (d Doctor) Examine(ctx context.Context) ([]Finding, error) {
	installed, broken, err := d.Store.All()
	if err != nil {
		return nil, err
	}
	listed := d.Finder.List()
	findings := slices.Concat(d.path(len(installed) > 0), d.files(listed))
	for _, err := range broken {
		findings = append(findings, finding("plugins", err))
	}
	return slices.Concat(findings, d.pinned(), d.protocols(ctx, installed)), ctx.Err()
}

// finding is an error as a finding, with its hint.
func finding(subject string, err error) Finding {
	return Finding{subject, err.Error(), protocol.HintOf(err)}
}

// path looks at PATH itself.
func (d Doctor) path(needed bool) []Finding {
	var list []Finding
	for _, warning := range d.Finder.Warnings() {
		list = append(list, Finding{"PATH", warning, "take it out of PATH, or make it writable by its owner only"})
	}
	if bin := d.Store.Bin(); needed && !slices.Contains(filepath.SplitList(d.Finder.Path), bin) {
		list = append(list, Finding{"PATH", bin + ", in which installed plugins are, is not on it", fmt.Sprintf("export PATH=\"%s:$PATH\"", bin)})
	}
	return list
}

// files looks at the plugins on PATH.
func (d Doctor) files(listed []discovery.Plugin) []Finding {
	var list []Finding
	for _, p := range listed {
		if p.Refused != "" {
			list = append(list, Finding{p.Name, p.Path + " is not run: " + p.Refused, d.fix(p)})
		}
		if p.Shadowed == "" || sameFile(p.Path, p.Shadowed) || d.carriesOut(p) {
			continue
		}
		list = append(list, Finding{p.Name, fmt.Sprintf("%s is never run: %s comes first", p.Path, p.Shadowed), "remove one of them, or change the order of PATH"})
	}
	return list
}

// fix is what to do about a plugin that is refused.
func (d Doctor) fix(p discovery.Plugin) string {
	return protocol.HintOf((&owner.Checker{UID: d.Finder.UID}).Check(p.Path))
}

// carriesOut reports whether the plugin is the part of harmony that carries out
// a built-in command.
func (d Doctor) carriesOut(p discovery.Plugin) bool {
	return p.Name == "plugin" && d.Suite != "" && sameFile(p.Path, filepath.Join(d.Suite, discovery.Prefix+p.Name))
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errors.Join(errA, errB) == nil && os.SameFile(x, y)
}

// pinned holds the plugins that the lock file names against it.
func (d Doctor) pinned() []Finding {
	if d.Check.File == "" {
		return nil
	}
	var list []Finding
	for _, entry := range d.Check.Lock.Plugins {
		p, err := d.Finder.Find(entry.Name)
		if err != nil {
			list = append(list, Finding{entry.Name, fmt.Sprintf("%s pins %s, but: %v", d.Check.File, entry.Version, err), "harmony plugin sync"})
			continue
		}
		if err := d.Check.Plugin(p); err != nil {
			list = append(list, finding(entry.Name, err))
		}
	}
	return list
}

// protocols asks the plugins that are installed or pinned which protocol they
// speak.
func (d Doctor) protocols(ctx context.Context, installed []store.Installed) []Finding {
	var names []string
	for _, i := range installed {
		names = append(names, i.Name)
	}
	for _, entry := range d.Check.Lock.Plugins {
		names = append(names, entry.Name)
	}
	slices.Sort(names)
	ours := protocol.ProtocolRange{Min: protocol.ProtocolMin, Max: protocol.ProtocolMax}
	var list []Finding
	for _, name := range slices.Compact(names) {
		p, err := d.Finder.Find(name)
		if err != nil {
			continue // told already
		}
		info, err := d.Describer.Describe(ctx, p)
		if err != nil {
			list = append(list, finding(name, err))
			continue
		}
		if _, ok := ours.Common(info.Protocol); !ok {
			list = append(list, Finding{name, fmt.Sprintf("%s speaks protocol %d to %d, harmony %d to %d: none in common",
				p.Path, info.Protocol.Min, info.Protocol.Max, ours.Min, ours.Max), "harmony plugin upgrade " + name})
		}
	}
	return list
}
