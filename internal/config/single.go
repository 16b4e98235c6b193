package config

import (
	"fmt"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Validated is a typed document that tells every problem of its own, as
// protocol.FieldErrors.
type Validated interface {
	protocol.Spec
	Validate() error
}

// ParseOne reads a file that holds one document of one kind, as strictly as a
// harmony.yaml. name is the file's name for messages. The error lists every
// problem, one a line with its line number, and is of status
// protocol.ExitInvalid.
func ParseOne[S Validated, P protocol.Decodable[S]](name string, data []byte) (S, error) {
	found := &problems{file: name}
	spec, err := parseOne[S, P](data, found)
	if err != nil && len(found.found) == 0 {
		found.add(0, "", "%v", err)
	}
	if len(found.found) > 0 {
		return spec, protocol.Invalid("%w", found)
	}
	return spec, nil
}

func parseOne[S Validated, P protocol.Decodable[S]](data []byte, found *problems) (S, error) {
	var spec S
	kind := spec.DocumentKind()
	roots := parseRoots(data, found)
	if len(found.found) > 0 {
		return spec, nil
	}
	if len(roots) != 1 {
		return spec, fmt.Errorf("holds %d documents, want one of kind %s", len(roots), kind)
	}
	if have := kindOf(roots[0]); have != string(kind) {
		found.add(roots[0].Line, "kind", "%s", otherKind(have, []string{string(kind)}))
		return spec, nil
	}
	e, d := readEnvelope[S](roots[0], found)
	whole, err := protocol.NewDocument(kind, e.Metadata, e.Spec)
	if err != nil {
		return spec, err
	}
	if spec, err = protocol.Decode[S, P](whole); err != nil {
		return spec, err
	}
	d.validate(found, e.APIVersion, spec.Validate())
	return spec, nil
}
