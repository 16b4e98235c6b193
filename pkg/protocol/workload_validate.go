package protocol

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
)

var (
	portNamePattern = newPattern(`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`)
	quantityPattern = newPattern(`^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$`)
	percentPattern  = newPattern(`^[0-9]{1,2}%$|^100%$`)
	hostPattern     = newPattern(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	capPattern      = newPattern(`^[A-Z][A-Z_]*$`)
)

func (w Workload) validate(p *problems, field string) {
	for name, n := range map[string]*int{"replicas": w.Replicas, "terminationGracePeriodSeconds": w.TerminationGracePeriodSeconds} {
		p.must(n == nil || *n >= 0, field+"."+name, "is negative")
	}
	w.validatePorts(p, field+".ports")
	w.validateEnv(p, field)
	w.Resources.validate(p, field+".resources")
	for name, probe := range map[string]*Probe{"startupProbe": w.StartupProbe, "readinessProbe": w.ReadinessProbe, "livenessProbe": w.LivenessProbe} {
		if probe != nil {
			w.validateProbe(p, field+"."+name, *probe)
		}
	}
	for name, volume := range w.Volumes {
		volume.validate(p, field+".volumes."+name, name)
	}
	if w.Service != nil {
		p.among(field+".service.type", w.Service.Type, "ClusterIP", "NodePort", "LoadBalancer")
	}
	w.validateIngress(p, field+".ingress")
	w.validateScale(p, field)
	if s := w.ServiceAccount; s != nil && s.Name != "" {
		p.object(field+".serviceAccount.name", s.Name)
	}
	if w.Security != nil {
		w.Security.validate(p, field+".security")
	}
}

func (w Workload) validatePorts(p *problems, field string) {
	distinct(p, field, "port", w.Ports, func(port WorkloadPort) string { return port.Name })
	for i, port := range w.Ports {
		at := fmt.Sprintf("%s[%d]", field, i)
		p.must(portNamePattern.MatchString(port.Name) && strings.Trim(port.Name, "0123456789-") != "", at+".name",
			"%q is not a port's name: at most 15 lower-case letters, digits and dashes, with a letter", port.Name)
		p.must(port.Port >= 1 && port.Port <= math.MaxUint16, at+".port", "%d is not a port", port.Port)
		p.port(at+".servicePort", port.ServicePort)
		p.among(at+".protocol", port.Protocol, "TCP", "UDP", "SCTP")
	}
}

// validatePort checks a reference to a port; the first one when empty.
func (w Workload) validatePort(p *problems, field, name string) {
	p.must(len(w.Ports) > 0, field, "needs a port, and ports has none")
	known := slices.ContainsFunc(w.Ports, func(port WorkloadPort) bool { return port.Name == name })
	p.must(len(w.Ports) == 0 || name == "" || known, field, "%q is not the name of one of the ports", name)
}

func (w Workload) validateEnv(p *problems, field string) {
	for name := range w.Env {
		p.must(variablePattern.MatchString(name), field+".env", "%q is not a variable's name", name)
	}
	for name, ref := range w.EnvRefs {
		at := field + ".envRefs." + name
		p.must(variablePattern.MatchString(name), at, "%q is not a variable's name", name)
		_, twice := w.Env[name]
		p.must(!twice, at, "is in env as well")
		p.secretOrConfigMap(at, ref.Secret, ref.ConfigMap)
		p.must(ref.Key != "", at+".key", "is required: the key of the Secret or ConfigMap")
	}
	for i, from := range w.EnvFrom {
		p.secretOrConfigMap(fmt.Sprintf("%s.envFrom[%d]", field, i), from.Secret, from.ConfigMap)
	}
}

func (p *problems) secretOrConfigMap(field, secret, configMap string) {
	if (secret == "") == (configMap == "") {
		p.add(field, "needs exactly one of secret and configMap")
		return
	}
	p.object(field, secret+configMap)
}

func (w Workload) validateProbe(p *problems, field string, probe Probe) {
	p.one(field, "http, tcp and exec", probe.HTTP != nil, probe.TCP != nil, len(probe.Exec) > 0)
	if probe.HTTP != nil {
		w.validatePort(p, field+".http.port", probe.HTTP.Port)
		p.urlPath(field+".http.path", probe.HTTP.Path)
	}
	if probe.TCP != nil {
		w.validatePort(p, field+".tcp.port", probe.TCP.Port)
	}
	for name, n := range map[string]int{"initialDelaySeconds": probe.InitialDelaySeconds, "periodSeconds": probe.PeriodSeconds, "timeoutSeconds": probe.TimeoutSeconds, "failureThreshold": probe.FailureThreshold} {
		p.notNegative(field+"."+name, int64(n))
	}
}

func (v Volume) validate(p *problems, field, name string) {
	p.must(labelPattern.MatchString(name), field, "%q is not a volume's name: lower-case letters, digits and dashes", name)
	p.must(path.IsAbs(v.Path) && v.Path != "/" && path.Clean(v.Path) == v.Path, field+".path", "%q is not an absolute path below /", v.Path)
	p.must(!path.IsAbs(v.SubPath) && !slices.Contains(strings.Split(v.SubPath, "/"), ".."), field+".subPath", "%q leads out of the volume", v.SubPath)
	p.one(field, "emptyDir, secret, configMap and claim", v.EmptyDir != nil, v.Secret != "", v.ConfigMap != "", v.Claim != nil)
	if name := v.Secret + v.ConfigMap; name != "" {
		p.object(field, name)
	}
	if v.EmptyDir != nil && v.EmptyDir.SizeLimit != "" {
		p.quantity(field+".emptyDir.sizeLimit", v.EmptyDir.SizeLimit)
	}
	if v.Claim != nil {
		v.Claim.validate(p, field+".claim")
	}
}

func (c Claim) validate(p *problems, field string) {
	switch {
	case (c.Name == "") == (c.Size == ""):
		p.add(field, "needs either name, of a claim that exists, or size, of one to make")
	case c.Name != "":
		p.object(field+".name", c.Name)
	default:
		p.quantity(field+".size", c.Size)
	}
	p.among(field+".accessMode", c.AccessMode, "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany")
}

func (w Workload) validateIngress(p *problems, field string) {
	if w.Ingress == nil {
		return
	}
	p.must(w.Service == nil || !w.Service.Disabled, field, "needs the Service, which is disabled")
	p.must(len(w.Ingress.Hosts) > 0, field+".hosts", "needs a host")
	for i, host := range w.Ingress.Hosts {
		at := fmt.Sprintf("%s.hosts[%d]", field, i)
		p.must(hostPattern.MatchString(host.Host), at+".host", "%q is not a host name", host.Host)
		p.urlPath(at+".path", host.Path)
		w.validatePort(p, at+".port", host.Port)
		if host.TLSSecret != "" {
			p.object(at+".tlsSecret", host.TLSSecret)
		}
	}
}

func (w Workload) validateScale(p *problems, field string) {
	if a := w.Autoscaling; a != nil {
		at := field + ".autoscaling"
		p.must(a.MinReplicas >= 0 && a.MaxReplicas >= max(1, a.MinReplicas), at+".maxReplicas", "%d is less than minReplicas, or than 1", a.MaxReplicas)
		p.must(a.CPU >= 0 && a.Memory >= 0, at, "cpu and memory are percents of the requests")
	}
	if d := w.Disruption; d != nil {
		at := field + ".podDisruptionBudget"
		p.one(at, "minAvailable and maxUnavailable", d.MinAvailable != nil, d.MaxUnavailable != nil)
		p.countOrShare(at+".minAvailable", d.MinAvailable, "pods")
		p.countOrShare(at+".maxUnavailable", d.MaxUnavailable, "pods")
	}
}

func (s WorkloadSecurity) validate(p *problems, field string) {
	for name, id := range map[string]*int64{"runAsUser": s.RunAsUser, "runAsGroup": s.RunAsGroup, "fsGroup": s.FSGroup} {
		if id != nil {
			p.must(*id > 0 || *id == 0 && name != "runAsUser", field+"."+name, "%d is root, or not an id; the app runs as another user", *id)
		}
	}
	for i, capability := range s.Capabilities {
		p.must(capPattern.MatchString(capability) && !strings.HasPrefix(capability, "CAP_") && capability != "ALL",
			fmt.Sprintf("%s.capabilities[%d]", field, i), "%q is not a capability such as NET_BIND_SERVICE", capability)
	}
}

func (p *problems) quantity(field, quantity string) {
	p.must(quantityPattern.MatchString(quantity), field, "%q is not a quantity such as 100m or 64Mi", quantity)
}

// countOrShare checks a number of things or a percentage, as JSON or YAML gives
// it, and reports whether it is one; nil is.
func (p *problems) countOrShare(field string, value any, things string) bool {
	ok := value == nil
	switch v := value.(type) {
	case int, int64, float64:
		n := toFloat(v)
		ok = n >= 0 && n == math.Trunc(n)
	case string:
		ok = percentPattern.MatchString(v)
	}
	p.must(ok, field, "%v is neither a number of %s nor a share such as 25%%", value, things)
	return ok
}

// toFloat is a number as JSON or YAML gives it; NaN for anything else.
func toFloat(value any) float64 {
	switch v := value.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return math.NaN()
}
