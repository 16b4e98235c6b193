package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Affected is an app of which inputs changed.
type Affected struct {
	App string `json:"app"`
	// Since is the commit that it was compared with; none when it was never released.
	Since string `json:"since,omitempty"`
	// Release is the version on that commit, if the app's last release was asked for.
	Release string `json:"release,omitempty"`
	// Reasons are the inputs that changed, for people.
	Reasons []string `json:"reasons"`
}

// affected are those of the apps whose inputs changed since ref, in their order.
func (p *project) affected(ctx context.Context, ref string, names []string) ([]Affected, error) {
	bases, err := p.bases(ctx, ref, names)
	if err != nil {
		return nil, err
	}
	by := map[string][]string{} // apps by commit
	for _, name := range names {
		by[bases[name].commit] = append(by[bases[name].commit], name)
	}
	if err := p.leaveOutSame(ctx, by); err != nil {
		return nil, err
	}
	reasons := map[string][]string{}
	for _, name := range by[""] {
		reasons[name] = []string{"it has no release yet"}
	}
	delete(by, "")
	if len(by) > 0 {
		if err := p.compare(ctx, by, reasons); err != nil {
			return nil, err
		}
	}
	found := []Affected{}
	for _, name := range names {
		if len(reasons[name]) > 0 {
			found = append(found, Affected{name, bases[name].commit, bases[name].release, reasons[name]})
		}
	}
	return found, nil
}

// leaveOutSame leaves out the commits since which nothing at all changed.
func (p *project) leaveOutSame(ctx context.Context, by map[string][]string) error {
	changed, err := p.repository.Changed(ctx)
	if err != nil || len(changed) > 0 {
		return err
	}
	head, err := p.repository.Run(ctx, "rev-parse", "HEAD^{tree}")
	if err != nil {
		return err
	}
	for commit := range by {
		if commit == "" {
			continue
		}
		tree, err := p.repository.Run(ctx, "rev-parse", commit+"^{tree}")
		if err != nil {
			return err
		}
		if tree == head {
			delete(by, commit)
		}
	}
	return nil
}

// compare finds what changed since each commit in the inputs of its apps.
func (p *project) compare(ctx context.Context, by map[string][]string, reasons map[string][]string) error {
	now, err := p.now(ctx, slices.Concat(slices.Collect(maps.Values(by))...))
	if err != nil {
		return err
	}
	for _, commit := range slices.Sorted(maps.Keys(by)) {
		before, err := p.at(ctx, commit, by[commit])
		if protocol.ExitCode(err) == protocol.ExitInvalid {
			p.warn(fmt.Sprintf("all apps count as changed since %s, whose %s is not valid: %v", commit, p.file, err))
			before, err = side{}, nil
		}
		if err != nil {
			return err
		}
		for _, name := range by[commit] {
			reasons[name] = difference(before[name], now[name])
		}
	}
	return nil
}

// difference is what changed, for people; nothing if nothing did.
func difference(was, is *listed) (reasons []string) {
	switch {
	case is == nil:
		return []string{"it is in no commit and ignored by git"}
	case is.err != nil:
		return []string{"its inputs cannot be read, without what git ignores: " + term.OneLine(is.err.Error())}
	case was == nil:
		return []string{"it is new"}
	case was.err != nil:
		return []string{"its inputs could not be read then: " + term.OneLine(was.err.Error())}
	case inputs.Digest(was.items) == inputs.Digest(is.items):
		return nil
	}
	for _, change := range inputs.Compare(was.items, is.items) {
		reasons = append(reasons, term.OneLine(change.String()))
	}
	if len(reasons) == 0 {
		return []string{"the order of its inputs changed"}
	}
	return reasons
}
