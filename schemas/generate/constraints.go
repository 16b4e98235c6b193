package main

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"

	"github.com/nationtech/harmony/pkg/protocol"
)

// What Go's types do not say.
const (
	durationPattern = `^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	digestPattern   = `^(sha256:[0-9a-f]{64})?$` // empty in a dry run, where it is not known yet
	platformPattern = `^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`
	namePattern     = `^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$`
)

// mapped is the schema of the types that are written otherwise than reflection
// sees them.
func mapped(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[protocol.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Examples: []any{"30s", "1m30s"}}
	case reflect.TypeFor[protocol.ImageLocation]():
		return enum(protocol.InDaemon, protocol.InLayout, protocol.InRegistry, protocol.InNodes)
	case reflect.TypeFor[protocol.Outcome]():
		return enum(protocol.OutcomeInstalled, protocol.OutcomeUpgraded, protocol.OutcomeUnchanged, protocol.OutcomeRolledBack)
	case reflect.TypeFor[protocol.CheckStatus]():
		return enum(protocol.CheckPassed, protocol.CheckFailed, protocol.CheckSkipped)
	}
	return nil
}

func enum[T ~string](values ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}

// constrain adds what holds of single fields, in streams and in configuration.
func constrain(definitions jsonschema.Definitions) {
	for _, c := range []struct {
		kind, field string
		apply       func(*jsonschema.Schema)
	}{
		{"ImageRef", "digest", pattern(digestPattern)},
		{"ImageRef", "platforms", items(pattern(platformPattern))},
		{"ImageSource", "platforms", items(pattern(platformPattern))},
		{"ChartRef", "digest", pattern(digestPattern)},
		{"DeployResult", "image", pattern(digestPattern)},
		{"DeployResult", "chart", pattern(digestPattern)},
		{"DeployResult", "previousImage", pattern(digestPattern)},
		{"DeployResult", "previousChart", pattern(digestPattern)},
		{"Failure", "code", between("1", "255")},
		{"HTTPCheck", "port", between("0", "65535")},
		{"TCPCheck", "port", between("0", "65535")},
		{"HTTPExpect", "status", between("0", "599")},
		{"SmokeCheck", "successes", between("0", "")},
		{"WorkloadPort", "port", between("1", "65535")},
		{"WorkloadPort", "servicePort", between("0", "65535")},
		{"Workload", "replicas", between("0", "")},
		{"WorkloadSecurity", "runAsUser", between("1", "")},
		{"PodDisruptionBudget", "minAvailable", countOrShare},
		{"PodDisruptionBudget", "maxUnavailable", countOrShare},
	} {
		if d := definitions[c.kind]; d != nil {
			c.apply(d.Properties.Value(c.field))
		}
	}
	// The encoder always writes it, the decoder does without.
	if d := definitions["HTTPCheck"]; d != nil {
		d.Required = slices.DeleteFunc(d.Required, func(name string) bool { return name == "expect" })
	}
}

// countOrShare is a number of pods or a share of them.
func countOrShare(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Type: "integer", Minimum: "0"}, {Type: "string", Pattern: `^([0-9]{1,2}|100)%$`}}
}

func pattern(p string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Pattern = p }
}

func items(apply func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { apply(s.Items) }
}

func between(low, high json.Number) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = low, high }
}

// choose adds what goes together in configuration. A stream has none of it: a
// newer stage may know a further kind of each.
func choose(definitions jsonschema.Definitions) {
	definitions["Metadata"].Properties.Value("name").Pattern = namePattern
	definitions["ImageSource"].OneOf = oneOf("dockerfile", "buildable")
	definitions["ChartImage"].OneOf = []*jsonschema.Schema{
		{Required: []string{"value"}},
		{Required: []string{"repository", "digest"}},
	}
	definitions["ChartSource"].OneOf = []*jsonschema.Schema{
		{Required: []string{"path", "image"}},
		{Required: []string{"builder"}},
		{Required: []string{"workload"}},
	}
	definitions["SmokeCheck"].OneOf = oneOf("rollout", "http", "tcp")
	definitions["HTTPCheck"].OneOf = oneOf("service", "url")
	definitions["TCPCheck"].OneOf = oneOf("service", "address")
	definitions["Target"].OneOf = oneOf("inCluster", "multiCluster", "edgeDevice")
	definitions["Provider"].AnyOf = oneOf("adapter", "plugin")
}

// oneOf asks for one field each.
func oneOf(fields ...string) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	for _, field := range fields {
		all = append(all, &jsonschema.Schema{Required: []string{field}})
	}
	return all
}
