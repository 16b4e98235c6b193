package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"time"
)

// What the namespace of a preview may name.
const (
	previewApp    = "{app}"
	previewBranch = "{branch}"
)

// Preview says what the namespace of a preview is for. harmony fills it in.
type Preview struct {
	// Project is the git repository, without its host: shop/web.
	Project string `json:"project,omitempty"`
	// Branch is the git branch, as git names it: feature/cart.
	Branch string `json:"branch,omitempty"`
}

const (
	// previewHash is the length of the hash that makes a name unique, in hex digits.
	previewHash = 10
	// maxBranch is how much of a namespace a branch may be, and maxLabel the length of a
	// DNS label, both in bytes.
	maxBranch = 40
	maxLabel  = 63
	// minTTL is the shortest life of a preview: it outlives its own release.
	minTTL = 10 * time.Minute
)

var hashedPattern = newPattern(`(^|-)[0-9a-f]{10}$`)

// Label is the branch as part of a DNS label, of at most 40 bytes: as it is where that
// is one already; else in lower case, with dashes for all that is not a letter or a
// digit, cut, and with the beginning of its SHA-256. Branches that differ have labels
// that differ.
func (p Preview) Label() string {
	label := dashed(p.Branch)
	if label == p.Branch && len(label) <= maxBranch && !hashedPattern.MatchString(label) {
		return label
	}
	return hashed(label, p.Branch, maxBranch)
}

var undashed = newPattern(`[^a-z0-9]+`)

func dashed(text string) string {
	return strings.Trim(undashed().ReplaceAllString(strings.ToLower(text), "-"), "-")
}

// hashed is the label with the hash of what it stands for, of at most that length.
func hashed(label, of string, length int) string {
	sum := sha256.Sum256([]byte(of))
	label = label[:min(len(label), length-previewHash-1)]
	return strings.TrimLeft(strings.TrimRight(label, "-")+"-"+hex.EncodeToString(sum[:])[:previewHash], "-")
}

// IsPreview reports that the namespace depends on the branch: harmony makes it, and
// removes it when its time has passed.
func (c InCluster) IsPreview() bool { return strings.Contains(c.Namespace, previewBranch) }

// Shared reports that all apps of a branch have the same namespace.
func (c InCluster) Shared() bool { return !strings.Contains(c.Namespace, previewApp) }

// NamespaceOf is the namespace of an app, a DNS label; that of a preview has the
// branch's [Preview.Label]. Without a branch that is an error of status
// [ExitInvalid].
func (c InCluster) NamespaceOf(app string) (string, error) {
	if !c.IsPreview() {
		return c.Namespace, nil
	}
	if c.Preview == nil || c.Preview.Branch == "" {
		return "", Invalid("the namespace %s needs a branch, and there is none", c.Namespace).
			WithHint("check out a branch, or set HARMONY_BRANCH to its name")
	}
	name := strings.NewReplacer(previewApp, app, previewBranch, c.Preview.Label()).Replace(c.Namespace)
	if len(name) > maxLabel {
		name = hashed(name, name, maxLabel)
	}
	return name, nil
}

// At is the topology as it is for an app, in which the target has the namespace
// that [InCluster.NamespaceOf] says.
func (t Topology) At(app, target string) (Topology, error) {
	c := t.Targets[target].InCluster
	if c == nil || !c.IsPreview() {
		return t, nil
	}
	namespace, err := c.NamespaceOf(app)
	if err != nil {
		return t, err
	}
	at, preview := *c, t.Targets[target]
	at.Namespace = namespace
	preview.InCluster = &at
	t.Targets = maps.Clone(t.Targets)
	t.Targets[target] = preview
	return t, nil
}

// validate checks the namespace, and what a preview needs.
func (c InCluster) validate(p *problems, field string) {
	at := field + ".namespace"
	if !c.IsPreview() {
		p.must(!strings.Contains(c.Namespace, previewApp), at, "%q has {app} and no {branch}: only the namespace of a preview depends on the app", c.Namespace)
		if !strings.Contains(c.Namespace, previewApp) {
			p.namespace(at, c.Namespace)
		}
		p.must(c.TTL == 0, field+".ttl", "is for previews: the namespace has to have {branch}")
		return
	}
	text := strings.NewReplacer(previewApp, "x", previewBranch, "x").Replace(c.Namespace)
	p.must(labelPattern.MatchString(text), at, "%q is not a namespace once {app} and {branch} are filled in", c.Namespace)
	p.must(time.Duration(c.TTL) >= minTTL, field+".ttl", "a preview, whose namespace has {branch}, needs a ttl of at least %s, such as 72h", minTTL)
}

// noPreview refuses a namespace that depends on the branch.
func (p *problems) noPreview(field, name, why string) bool {
	preview := strings.Contains(name, previewBranch)
	p.must(!preview, field, "%q is the namespace of a preview, and %s: use an inCluster target", name, why)
	return preview
}
