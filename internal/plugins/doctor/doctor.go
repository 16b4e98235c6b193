// Package doctor finds problems with a user's plugins: in PATH, in the files on it, in
// the installed plugins, and in those that the project pins.
package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Finding is one problem.
type Finding struct {
	// Subject is PATH, a plugin's name or a file.
	Subject string `json:"subject"`
	Problem string `json:"problem"`
	// Advice is how to fix it; it may be empty.
	Advice string `json:"advice,omitempty"`
}

// Doctor runs describe of the installed and the pinned plugins, and nothing else.
type Doctor struct {
	Finder    discovery.Finder
	Store     store.Store
	Describer discovery.Describer
	// Suite is the folder of harmony itself, or empty.
	Suite string
	// Check has the project's lock file; its File is empty without one.
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

// path examines PATH.
func (d Doctor) path(needed bool) []Finding {
	var list []Finding
	for _, warning := range d.Finder.Warnings() {
		list = append(list, Finding{"PATH", warning, "remove it from PATH, or make it writable by its owner only"})
	}
	if bin := d.Store.Bin(); needed && !slices.Contains(filepath.SplitList(d.Finder.Path), bin) {
		list = append(list, Finding{"PATH", bin + ", the folder of installed plugins, is missing", fmt.Sprintf("export PATH=\"%s:$PATH\"", bin)})
	}
	return list
}

// files examines the plugins on PATH.
func (d Doctor) files(listed []discovery.Plugin) []Finding {
	var list []Finding
	for _, p := range listed {
		if p.Refused != "" {
			list = append(list, Finding{p.Name, p.Path + " is refused: " + p.Refused, protocol.HintOf((&owner.Checker{UID: d.Finder.UID}).Check(p.Path))})
		}
		// harmony-plugin carries out the built-in command plugin.
		part := p.Name == "plugin" && d.Suite != "" && discovery.SameFile(p.Path, filepath.Join(d.Suite, discovery.Prefix+p.Name))
		if p.Shadowed == "" || discovery.SameFile(p.Path, p.Shadowed) || part {
			continue
		}
		list = append(list, Finding{p.Name, fmt.Sprintf("%s never runs: %s comes first", p.Path, p.Shadowed), "remove one of them, or change the order of PATH"})
	}
	return list
}

// pinned compares the plugins that the lock file names with it.
func (d Doctor) pinned() []Finding {
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

// protocols checks which protocol the installed and the pinned plugins speak.
func (d Doctor) protocols(ctx context.Context, installed []store.Installed) []Finding {
	var names []string
	for _, i := range installed {
		names = append(names, i.Name)
	}
	for _, entry := range d.Check.Lock.Plugins {
		names = append(names, entry.Name)
	}
	slices.Sort(names)
	var list []Finding
	for _, name := range slices.Compact(names) {
		p, err := d.Finder.Find(name)
		if err != nil {
			continue // reported already
		}
		info, err := d.Describer.Describe(ctx, p)
		if err != nil {
			list = append(list, finding(name, err))
			continue
		}
		if err := discovery.CheckProtocol(p.Path, info.Protocol); err != nil {
			list = append(list, Finding{name, err.Error(), "harmony plugin upgrade " + name})
		}
	}
	return list
}
