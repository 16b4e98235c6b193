package protocol

import (
	"slices"
	"strings"
)

// Validate returns all problems at once, as [FieldErrors], or nil.
func (t Topology) Validate() error {
	var p problems
	if !ValidName(t.Name) {
		p.add("metadata.name", "%q is not a topology's name: lower-case letters, digits and dashes, at most 53", t.Name)
	}
	for capability, provider := range t.providers() {
		if provider != nil {
			provider.validate(&p, "spec."+capability, capability)
		}
	}
	t.validateCapabilities(&p, "spec.capabilities")
	for name, target := range t.Targets {
		if !ValidName(name) {
			p.add("spec.targets."+name, "%q is not a target's name: lower-case letters, digits and dashes, at most 53", name)
		}
		target.validate(&p, "spec.targets."+name)
	}
	slices.SortStableFunc(p.found, func(x, y FieldError) int { return strings.Compare(x.Field, y.Field) })
	return p.err()
}

func (t Topology) providers() map[string]*Provider {
	return map[string]*Provider{
		"containerBuilder":   t.ContainerBuilder,
		"ociRegistry":        t.OCIRegistry,
		"helmRegistry":       t.HelmRegistry,
		"continuousDelivery": t.ContinuousDelivery,
		"smoke":              t.Smoke,
		"monitoring":         t.Monitoring,
	}
}

// ownField is the field of a topology for one of the suite's own capabilities.
func ownField(capability string) string {
	switch capability {
	case "ContainerBuilder":
		return "containerBuilder"
	case "OCIRegistry":
		return "ociRegistry"
	case "HelmRegistry":
		return "helmRegistry"
	case "ContinuousDelivery":
		return "continuousDelivery"
	case "Monitoring":
		return "monitoring"
	}
	return ""
}

func (t Topology) validateCapabilities(p *problems, field string) {
	for name, provider := range t.Capabilities {
		at := field + "." + name
		switch own := ownField(name); {
		case own != "":
			p.add(at, "is written as spec.%s", own)
		case !capabilityPattern.MatchString(name):
			p.add(at, "%q is not a capability's name: letters and digits, a capital first, such as BackupStore", name)
		}
		provider.validate(p, at, name)
	}
}

func (r Provider) validate(p *problems, field, capability string) {
	if r.Adapter == "" && r.Plugin == "" {
		p.add(field, "needs adapter or plugin")
	}
	if r.Plugin != "" && (!strings.HasPrefix(r.Plugin, "harmony-") || !labelPattern.MatchString(r.Plugin)) {
		p.add(field+".plugin", "%q is not a plugin's name, harmony- and lower-case letters, digits and dashes", r.Plugin)
	}
	if capability != "ociRegistry" && r.TrustInputs != "" {
		p.add(field+".trustInputs", "is a field of ociRegistry only")
	}
	if capability == "ociRegistry" || capability == "helmRegistry" {
		validateRegistry(p, field+".url", r.URL)
	}
}

func (t Target) validate(p *problems, field string) {
	kinds := 0
	if t.InCluster != nil {
		kinds++
		validateNamespace(p, field+".inCluster.namespace", t.InCluster.Namespace)
	}
	if t.MultiCluster != nil {
		kinds++
		t.MultiCluster.validate(p, field+".multiCluster")
	}
	if t.EdgeDevice != nil {
		kinds++
		t.EdgeDevice.validate(p, field+".edgeDevice")
	}
	if kinds != 1 {
		p.add(field, "needs exactly one of inCluster, multiCluster and edgeDevice")
	}
}

func validateNamespace(p *problems, field, namespace string) {
	if !labelPattern.MatchString(namespace) {
		p.add(field, "%q is not a namespace", namespace)
	}
}
