package devices

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Said is a report as a device sends it by HTTP. Its fields are the annotations of the
// same name of a report in the registry.
type Said struct {
	// Revision is the digest of the state that the report is about: sha256:…, or with the
	// tag that the device follows, ring-1@sha256:….
	Revision string `json:"revision"`
	// State is ready, gone, failed, or a word of the device's own for in progress.
	State string `json:"state"`
	// Message is one line for people, and Labels are the device's: tier=canary,region=eu.
	Message string `json:"message"`
	Labels  string `json:"labels"`
}

var statePattern = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)

// ParseReport reads a report strictly: what it does not know may be a misspelled word, and
// the device is there to be told.
func ParseReport(text []byte) (Said, error) {
	var said Said
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&said); err != nil {
		return Said{}, protocol.Invalid("the report is not valid: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Said{}, protocol.Invalid("there is more than one report")
	}
	tag, _, tagged := strings.Cut(said.Revision, "@")
	switch {
	case digestIn(said.Revision) == "" || tagged && tag != TagLatest && !isRing(tag):
		return Said{}, protocol.Invalid("revision %q is neither a digest, sha256:…, nor one with the tag that the device follows, such as latest@sha256:…", term.Excerpt(said.Revision, 100))
	case !statePattern.MatchString(said.State):
		return Said{}, protocol.Invalid("state %q is not a word such as ready, failed, gone or progressing", term.Excerpt(said.State, 100))
	}
	if _, err := protocol.ParseDeviceLabels(said.Labels); err != nil {
		return Said{}, fmt.Errorf("labels: %w", err)
	}
	said.Message = term.Excerpt(said.Message, maxMessage-1)
	return said, nil
}

// Of is the report of a device, made at a time.
func (s Said) Of(device string, at time.Time) protocol.DeviceReport {
	return protocol.DeviceReport{
		Device: device, State: protocol.DeviceState(s.State), Digest: digestIn(s.Revision), Message: s.Message, Time: at.UTC().Format(time.RFC3339),
	}
}
