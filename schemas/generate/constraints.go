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
	versionPattern  = `^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`
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
		return enum(protocol.OutcomeInstalled, protocol.OutcomeUpgraded, protocol.OutcomeUnchanged, protocol.OutcomeRolledBack, protocol.OutcomeFailed, protocol.OutcomeSkipped, protocol.OutcomePaused, protocol.OutcomePublished, protocol.OutcomeRemoved, protocol.OutcomeAbsent, protocol.OutcomeGivenBack)
	case reflect.TypeFor[protocol.EdgeForm]():
		return enum(protocol.EdgeManifests, protocol.EdgeHelmRelease)
	case reflect.TypeFor[protocol.DeviceState]():
		return enum(protocol.DeviceReady, protocol.DeviceProgressing, protocol.DeviceFailed, protocol.DeviceBehind, protocol.DeviceSilent, protocol.DeviceGone, protocol.DeviceOffline)
	case reflect.TypeFor[protocol.PipelineStep]():
		return pipelineStep()
	case reflect.TypeFor[protocol.DeviceRing]():
		return deviceRing()
	case reflect.TypeFor[protocol.Change]():
		return enum(protocol.ChangeCreated, protocol.ChangeUpdated, protocol.ChangeRemoved, protocol.ChangeUnchanged)
	case reflect.TypeFor[protocol.CheckStatus]():
		return enum(protocol.CheckPassed, protocol.CheckFailed, protocol.CheckSkipped)
	}
	return nil
}

// pipelineStep is the name of a stage, or that with a target.
func pipelineStep() *jsonschema.Schema {
	const stage = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	one := uint64(1)
	return &jsonschema.Schema{
		Description: "A stage, such as smoke, or a stage and its target, such as {deploy: staging}.",
		AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: stage},
			{
				Type: "object", MinProperties: &one, MaxProperties: &one,
				PatternProperties:    map[string]*jsonschema.Schema{stage: {Type: "string", Pattern: namePattern}},
				AdditionalProperties: jsonschema.FalseSchema,
			},
		},
	}
}

// deviceRing is a share of devices, or their labels.
func deviceRing() *jsonschema.Schema {
	const label = `^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`
	one := uint64(1)
	labels := jsonschema.NewProperties()
	labels.Set("labels", &jsonschema.Schema{
		Type: "object", MinProperties: &one, PropertyNames: &jsonschema.Schema{Pattern: label}, AdditionalProperties: &jsonschema.Schema{Type: "string", Pattern: label},
	})
	return &jsonschema.Schema{
		Description: "Up to which share of the devices the ring comes, such as 10%, or the labels of its devices, such as {labels: {tier: canary}}.",
		AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^([1-9][0-9]?|100)%$`},
			{Type: "object", Properties: labels, Required: []string{"labels"}, AdditionalProperties: jsonschema.FalseSchema},
		},
	}
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
		{"AppImage", "platforms", items(pattern(platformPattern))},
		{"Buildable", "workingDir", pattern(`^/`)},
		{"Buildable", "files", values(pattern(`^/`))},
		{"ChartRef", "digest", pattern(digestPattern)},
		{"DeployResult", "image", pattern(digestPattern)},
		{"DeployResult", "chart", pattern(digestPattern)},
		{"DeployResult", "images", values(pattern(digestPattern))},
		{"DeployResult", "previousImage", pattern(digestPattern)},
		{"DeployResult", "previousChart", pattern(digestPattern)},
		{"PublishedState", "digest", pattern(digestPattern)},
		{"PublishedState", "image", pattern(digestPattern)},
		{"PublishedState", "chart", pattern(digestPattern)},
		{"RingState", "digest", pattern(digestPattern)},
		{"Failure", "code", between("1", "255")},
		{"HTTPCheck", "port", between("0", "65535")},
		{"TCPCheck", "port", between("0", "65535")},
		{"GRPCCheck", "port", between("0", "65535")},
		{"PrometheusCheck", "port", between("0", "65535")},
		{"ResourceCheck", "atLeast", between("0", "")},
		{"HTTPExpect", "status", between("0", "599")},
		{"SmokeCheck", "successes", between("0", "")},
		{"WorkloadPort", "port", between("1", "65535")},
		{"WorkloadPort", "servicePort", between("0", "65535")},
		{"Workload", "replicas", between("0", "")},
		{"WorkloadSecurity", "runAsUser", between("1", "")},
		{"PodDisruptionBudget", "minAvailable", countOrShare},
		{"PodDisruptionBudget", "maxUnavailable", countOrShare},
		{"Metrics", "port", nameOrNumber},
		{"MultiCluster", "waves", wavesOf},
		{"Wave", "upTo", countOrShare},
		{"MultiCluster", "maxFailures", countOrShare},
		{"MultiCluster", "parallel", between("0", "")},
		{"AdvanceWhen", "healthy", pattern(`^([1-9][0-9]?|100)%$`)},
		{"AdvanceWhen", "maxFailed", countOrShare},
		{"DeviceReports", "requestsPerSecond", between("0", "")},
	} {
		if d := definitions[c.kind]; d != nil {
			c.apply(d.Properties.Value(c.field))
		}
	}
	if d := definitions["ImagePlaces"]; d != nil {
		oneOrMore(d)
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

// nameOrNumber is a port.
func nameOrNumber(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Type: "string", Pattern: `^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`}, {Type: "integer", Minimum: "1", Maximum: "65535"}}
}

// oneOrMore is an item of a list, or the list.
func oneOrMore(s *jsonschema.Schema) {
	one, least := s.Items, uint64(1)
	item := &jsonschema.Schema{Ref: one.Ref, AnyOf: oneOf("value", "repository")}
	s.Type, s.Items = "", nil
	s.OneOf = []*jsonschema.Schema{one, {Type: "array", MinItems: &least, Items: item}}
}

// wavesOf is a list of waves, for each of which a number or a share may stand.
func wavesOf(s *jsonschema.Schema) {
	wave := s.Items
	s.Items = &jsonschema.Schema{}
	countOrShare(s.Items)
	s.Items.AnyOf = append(s.Items.AnyOf, wave)
}

func pattern(p string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Pattern = p }
}

func items(apply func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { apply(s.Items) }
}

func values(apply func(*jsonschema.Schema)) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { apply(s.AdditionalProperties) }
}

func between(low, high json.Number) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = low, high }
}

// choose adds what goes together in configuration. A stream has none of it: a
// newer stage may know a further kind of each.
func choose(definitions jsonschema.Definitions) {
	definitions["Metadata"].Properties.Value("name").Pattern = namePattern
	definitions["ImageSource"].OneOf = oneOf("dockerfile", "buildable", "ref")
	definitions["AppImage"].OneOf = oneOf("dockerfile", "buildable", "ref")
	definitions["ChartImage"].OneOf = []*jsonschema.Schema{
		{Required: []string{"value"}},
		{Required: []string{"repository"}, AnyOf: oneOf("tag", "digest")},
	}
	definitions["ChartSource"].OneOf = oneOf("path", "url", "builder", "workload")
	kinds, two := oneOf(protocol.CheckKinds()...), uint64(2)
	// Any other object is a kind of harmony-check-NAME, and takes the place of those.
	definitions["SmokeCheck"].OneOf = append(kinds, &jsonschema.Schema{Not: &jsonschema.Schema{AnyOf: kinds}, MinProperties: &two})
	definitions["SmokeCheck"].AdditionalProperties = &jsonschema.Schema{Type: "object"}
	definitions["HTTPCheck"].OneOf = oneOf("service", "url")
	definitions["WebhookRoute"].OneOf = oneOf("url", "secret")
	definitions["AlertRoute"].OneOf = oneOf("webhook", "slack", "pagerDuty", "email")
	definitions["TCPCheck"].OneOf = oneOf("service", "address")
	definitions["GRPCCheck"].OneOf = oneOf("service", "address")
	definitions["PrometheusCheck"].OneOf = oneOf("service", "url")
	definitions["ResourceCheck"].OneOf = oneOf("name", "selector")
	definitions["MultiCluster"].AnyOf = oneOf("contexts", "selector", "argocd")
	definitions["EdgeDevice"].OneOf = oneOf("device", "group")
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

// constrainManifest adds what holds of the fields of a plugin's manifest.
func constrainManifest(definitions jsonschema.Definitions) {
	metadata, spec, platform := definitions["Metadata"], definitions["Manifest"], definitions["Platform"]
	metadata.Required = []string{"name", "version"}
	one := uint64(1)
	for _, c := range []struct {
		in    *jsonschema.Schema
		field string
		apply func(*jsonschema.Schema)
	}{
		{metadata, "name", pattern(namePattern)},
		{metadata, "version", pattern(versionPattern)},
		{spec, "homepage", pattern(`^https://`)},
		{spec, "shortDescription", func(s *jsonschema.Schema) { s.MinLength, s.Pattern = &one, `^[^\n\r]+$` }},
		{spec, "platforms", func(s *jsonschema.Schema) { s.MinItems = &one }},
		{spec, "stage", pattern(namePattern)},
		{spec, "apps", items(pattern(namePattern))},
		{platform, "os", pattern(`^[a-z0-9]{1,32}$`)},
		{platform, "arch", pattern(`^[a-z0-9]{1,32}$`)},
		{platform, "uri", pattern(`^(https|oci|file|http)://[^ ]+$`)},
		{platform, "sha256", pattern(`^[0-9a-f]{64}$`)},
		{platform, "size", between("1", "2147483648")},
	} {
		c.apply(c.in.Properties.Value(c.field))
	}
	for _, end := range []string{"min", "max"} {
		definitions["ProtocolRange"].Properties.Value(end).Minimum = "1"
	}
}
