package protocol

// ClusterCount counts the clusters of a target by what became of them.
type ClusterCount struct {
	// Total is how many clusters the target has.
	Total int `json:"total"`
	// Installed counts the first deploys.
	Installed int `json:"installed,omitempty"`
	// Upgraded counts the upgrades.
	Upgraded int `json:"upgraded,omitempty"`
	// Unchanged counts those with nothing to do.
	Unchanged int `json:"unchanged,omitempty"`
	// RolledBack counts those that went back to what ran before.
	RolledBack int `json:"rolledBack,omitempty"`
	// Failed counts those that failed and did not go back.
	Failed int `json:"failed,omitempty"`
	// Skipped counts those that were not tried.
	Skipped int `json:"skipped,omitempty"`
	// Paused counts those whose rollout is on hold.
	Paused int `json:"paused,omitempty"`
	// Removed counts those that an uninstall removed the app from.
	Removed int `json:"removed,omitempty"`
	// Absent counts those that an uninstall did not find the app on.
	Absent int `json:"absent,omitempty"`
	// GivenBack counts those whose release was given back.
	GivenBack int `json:"givenBack,omitempty"`
}

// counter is where clusters of the outcome are counted; nil for others.
func (n *ClusterCount) counter(o Outcome) *int {
	return map[Outcome]*int{
		OutcomeInstalled: &n.Installed, OutcomeUpgraded: &n.Upgraded, OutcomeUnchanged: &n.Unchanged,
		OutcomeRolledBack: &n.RolledBack, OutcomeFailed: &n.Failed, OutcomeSkipped: &n.Skipped, OutcomePaused: &n.Paused,
		OutcomeRemoved: &n.Removed, OutcomeAbsent: &n.Absent, OutcomeGivenBack: &n.GivenBack,
	}[o]
}

// Add counts one more cluster.
func (n *ClusterCount) Add(o Outcome) {
	n.Total++
	if counter := n.counter(o); counter != nil {
		*counter++
	}
}

// Outcome is that of the target: the worst of its clusters, or the greatest
// change.
func (n ClusterCount) Outcome() Outcome {
	for _, o := range []Outcome{OutcomeFailed, OutcomeRolledBack, OutcomePaused, OutcomeUpgraded, OutcomeInstalled, OutcomeUnchanged, OutcomeRemoved, OutcomeGivenBack, OutcomeAbsent} {
		if *n.counter(o) > 0 {
			return o
		}
	}
	return OutcomeSkipped
}
