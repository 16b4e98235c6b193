package protocol

var capabilityPattern = newPattern(`^[A-Z][A-Za-z0-9]{0,62}$`)

// Validate returns all problems at once, as [FieldErrors], or nil.
func (t Topology) Validate() error {
	var p problems
	p.name("metadata.name", "a topology's", t.Name)
	own := t.own()
	for _, c := range append(own, ownCapability{field: "smoke", provider: t.Smoke}) {
		if c.provider != nil {
			c.provider.validate(&p, "spec."+c.field, c.field)
		}
	}
	for name, provider := range t.Capabilities {
		at := "spec.capabilities." + name
		p.must(capabilityPattern.MatchString(name), at, "%q is not a capability's name: letters and digits, a capital first, such as BackupStore", name)
		for _, c := range own {
			p.must(c.name != name, at, "is written as spec.%s", c.field)
		}
		provider.validate(&p, at, name)
	}
	for name, target := range t.Targets {
		field := "spec.targets." + name
		p.name(field, "a target's", name)
		p.one(field, "inCluster, multiCluster and edgeDevice", target.InCluster != nil, target.MultiCluster != nil, target.EdgeDevice != nil)
		p.among(field+".onSmokeFailure", target.OnSmokeFailure, SmokeRollback, SmokeHalt)
		if target.InCluster != nil {
			target.InCluster.validate(&p, field+".inCluster")
		}
		if target.MultiCluster != nil {
			target.MultiCluster.validate(&p, field+".multiCluster")
		}
		if target.EdgeDevice != nil {
			target.EdgeDevice.validate(&p, field+".edgeDevice")
		}
	}
	return p.err()
}

func (r Provider) validate(p *problems, field, capability string) {
	p.must(r.Adapter != "" || r.Plugin != "", field, "needs adapter or plugin")
	p.plugin(field+".plugin", r.Plugin)
	p.must(capability == "ociRegistry" || r.TrustInputs == "", field+".trustInputs", "is a field of ociRegistry only")
	if capability == "ociRegistry" || capability == "helmRegistry" {
		p.registry(field+".url", r.URL)
	}
}
