package delivery

import (
	"cmp"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Superseded is the error of a deploy that is to be gone back from when something else
// runs by now. now says what.
func Superseded(app, now string) error {
	return protocol.Unsupported("%s was changed since by somebody else, to %s", app, cmp.Or(now, "something unknown")).
		WithHint("look at what runs: harmony status %s", app)
}

// Forgotten is the error when the release that ran before a deploy is not kept.
func Forgotten(what string, before protocol.DeployResult) error {
	return protocol.Unsupported("%s does not keep the release that ran before, with chart %s", what, before.PreviousChart)
}
