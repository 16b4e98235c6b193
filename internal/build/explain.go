package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxReasons is how many changes are listed.
const maxReasons = 20

// lastFile holds the list of what the app's last image was made from.
func (j *job) lastFile() string { return filepath.Join(j.memory, "last.items") }

func (j *job) remember(in input) error { return inputs.SaveItems(j.lastFile(), in.digest, in.items) }

// explainFound says where the image of an unchanged input is.
func (j *job) explainFound(image protocol.ImageRef) {
	if !j.flags.Explain {
		return
	}
	switch image.Location {
	case protocol.InRegistry:
		j.tell(protocol.PhaseExplain, "not built: the registry has the image of this input, %s@%s", image.FullName(), image.Digest)
	case protocol.InDaemon:
		j.tell(protocol.PhaseExplain, "not built: the daemon has the image of this input, %s", image.ID)
	default:
		j.tell(protocol.PhaseExplain, "not built: nothing changed since %s was made here", image.Digest)
	}
}

// explain says why the image is built.
func (j *job) explain(in input) {
	if !j.flags.Explain {
		return
	}
	for _, reason := range j.reasons(in) {
		j.tell(protocol.PhaseExplain, "%s", reason)
	}
}

func (j *job) reasons(in input) []string {
	if j.flags.NoCache {
		return []string{"built because of --no-cache"}
	}
	digest, last, err := inputs.LoadItems(j.lastFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{"built for the first time on this machine"}
	case err != nil:
		return []string{fmt.Sprintf("built; what the last image was made from is not known: %v", err)}
	case !in.known:
		return []string{"built because it is not known which base images it is made from"}
	case digest == in.digest:
		if j.published != nil {
			return []string{"built again although nothing changed: its image is no longer there, nor in " + j.published.host}
		}
		return []string{"built again although nothing changed: its image is no longer there"}
	}
	changes := inputs.Compare(last, in.items)
	reasons := make([]string, 0, maxReasons+1)
	for _, c := range changes[:min(maxReasons, len(changes))] {
		reasons = append(reasons, c.String())
	}
	if more := len(changes) - maxReasons; more > 0 {
		reasons = append(reasons, fmt.Sprintf("and %d more changes", more))
	}
	return reasons
}
