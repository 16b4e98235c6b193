package protocol

import (
	"fmt"
	"math"
	"slices"
)

// FeatureWaves is that of a deploy stage which knows what a target asks for between its
// waves. A target that asks for something is not given to another.
const FeatureWaves = "waves"

// Wave says up to how many of the clusters it comes. In JSON a number or a share may
// stand for it: 3 is {upTo: 3}, but with what the target says for all waves.
type Wave struct {
	// UpTo is a number of clusters, or a share of all of them such as 10%, which is
	// rounded up.
	UpTo any `json:"upTo"`
	// Gate is what happens after the wave.
	Gate
	// Own is true of a wave that is an object in JSON: its gate is what it says itself,
	// and [MultiCluster.Between] is not for it.
	Own bool `json:"-"`
}

// Gate is what happens after a wave, in this order, before the next one begins.
type Gate struct {
	// Checks runs the app's smoke checks on the wave's clusters: those that go through a
	// cluster. A cluster that fails one has failed.
	Checks bool `json:"checks,omitempty"`
	// Wait is how long nothing is done then.
	Wait Duration `json:"wait,omitempty"`
	// Analysis are checks after that. Those that go through a cluster run on every one of
	// the wave; others run once, and all clusters of the wave have failed with them.
	Analysis []SmokeCheck `json:"analysis,omitempty"`
	// Pause holds the rollout until somebody resumes it.
	Pause bool `json:"pause,omitempty"`
}

// IsZero reports that nothing happens.
func (g Gate) IsZero() bool {
	return !g.Checks && g.Wait == 0 && len(g.Analysis) == 0 && !g.Pause
}

// and is all that two gates ask for.
func (g Gate) and(other Gate) Gate {
	return Gate{
		Checks: g.Checks || other.Checks, Wait: max(g.Wait, other.Wait), Pause: g.Pause || other.Pause,
		Analysis: slices.Concat(g.Analysis, other.Analysis),
	}
}

// TakesScalar reports that a single value may stand for the wave.
func (Wave) TakesScalar() bool { return true }

type plainWave Wave

// MarshalJSON implements [json.Marshaler].
func (w Wave) MarshalJSON() ([]byte, error) {
	if !w.Own && w.IsZero() {
		return marshalPlain(w.UpTo)
	}
	return marshalPlain(plainWave(w))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (w *Wave) UnmarshalJSON(text []byte) error {
	*w = Wave{}
	if text[0] != '{' {
		return unmarshal(text, &w.UpTo)
	}
	w.Own = true
	return unmarshal(text, (*plainWave)(w))
}

// Waves are waves that say only up to where they come.
func Waves(upTo ...any) []Wave {
	waves := make([]Wave, len(upTo))
	for i, end := range upTo {
		waves[i].UpTo = end
	}
	return waves
}

// WaveStep is a wave over a number of clusters.
type WaveStep struct {
	// End is up to which of the clusters it comes.
	End int
	// Gate is what happens after it.
	Gate Gate
}

// Steps are the waves of so many clusters. A wave that would bring none is left out;
// what it says itself happens after the one before. Nothing of Between happens after
// the last.
func (m MultiCluster) Steps(clusters int) []WaveStep {
	waves := m.Waves
	if len(waves) == 0 {
		waves = Waves(1, "10%", wholeShare)
	}
	var steps []WaveStep
	last := 0
	for _, wave := range append(waves[:len(waves):len(waves)], Wave{UpTo: wholeShare}) {
		end := min(amount(wave.UpTo, clusters, math.Ceil), clusters)
		gate := wave.Gate
		if !wave.Own && gate.IsZero() && m.Between != nil && end < clusters {
			gate = *m.Between
		}
		switch {
		case end > last:
			steps, last = append(steps, WaveStep{end, gate}), end
		case len(steps) > 0 && wave.Own:
			steps[len(steps)-1].Gate = steps[len(steps)-1].Gate.and(gate)
		}
	}
	return steps
}

// Gated reports that something happens between the waves, or after one.
func (m MultiCluster) Gated() bool {
	return m.Between != nil && !m.Between.IsZero() || slices.ContainsFunc(m.Waves, func(w Wave) bool { return !w.IsZero() })
}

func (i PluginInfo) checkWaves(target string, multi *MultiCluster) error {
	if multi == nil || !multi.Gated() || slices.Contains(i.Features, FeatureWaves) {
		return nil
	}
	return Unsupported("target %q asks for checks, waits or pauses between its waves, and plugin harmony-%s %s does not know them", target, i.Name, i.Version).
		WithHint("the plugin's describe does not list the feature %s", FeatureWaves)
}

func (m MultiCluster) validateWaves(p *problems, field string) {
	for i, wave := range m.Waves {
		at := fmt.Sprintf("%s.waves[%d]", field, i)
		upTo := at
		if wave.Own {
			upTo += ".upTo"
		}
		if wave.UpTo == nil {
			p.add(upTo, "is required: a number of clusters, or a share such as 25%%")
			continue
		}
		valid := p.countOrShare(upTo, wave.UpTo, "clusters")
		p.must(!valid || amount(wave.UpTo, 100, math.Ceil) > 0, upTo, "adds no cluster")
		wave.Gate.validate(p, at)
	}
	if last := len(m.Waves) - 1; last >= 0 {
		p.must(m.Waves[last].UpTo == wholeShare, fmt.Sprintf("%s.waves[%d]", field, last), "the last wave is 100%%: no cluster is left out")
	}
	if m.Between != nil {
		m.Between.validate(p, field+".between")
	}
}

func (g Gate) validate(p *problems, field string) {
	p.notNegative(field+".wait", int64(g.Wait))
	// Which app it will be is not known here: one with an image.
	validateChecks(p, field+".analysis", AppSpec{Smoke: g.Analysis, Image: ImageSource{Ref: "app"}})
}
