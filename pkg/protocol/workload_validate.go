package protocol

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

var (
	portNamePattern  = newPattern(`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`)
	quantityPattern  = newPattern(`^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$`)
	percentPattern   = newPattern(`^[0-9]{1,2}%$|^100%$`)
	subdomainPattern = newPattern(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	hostPattern      = newPattern(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	capPattern       = newPattern(`^[A-Z][A-Z_]*$`)
)

func (w Workload) validate(p *problems, field string) {
	notNegative(p, field+".replicas", w.Replicas)
	notNegative(p, field+".terminationGracePeriodSeconds", w.TerminationGracePeriodSeconds)
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
	w.validateNetwork(p, field)
	w.validateScale(p, field)
	if s := w.ServiceAccount; s != nil && s.Name != "" {
		objectName(p, field+".serviceAccount.name", s.Name)
	}
	w.Security.validate(p, field+".security")
}

func (w Workload) validatePorts(p *problems, field string) {
	seen := map[string]bool{}
	for i, port := range w.Ports {
		at := fmt.Sprintf("%s[%d]", field, i)
		if !portNamePattern.MatchString(port.Name) || strings.Trim(port.Name, "0123456789-") == "" {
			p.add(at+".name", "%q is not a port's name: at most 15 lower-case letters, digits and dashes, with a letter", port.Name)
		}
		if seen[port.Name] {
			p.add(at+".name", "%q is the name of an earlier port as well", port.Name)
		}
		seen[port.Name] = true
		if port.Port < 1 || port.Port > math.MaxUint16 {
			p.add(at+".port", "%d is not a port", port.Port)
		}
		if port.ServicePort < 0 || port.ServicePort > math.MaxUint16 {
			p.add(at+".servicePort", "%d is not a port", port.ServicePort)
		}
		among(p, at+".protocol", port.Protocol, "TCP", "UDP", "SCTP")
	}
}

// validatePort holds a reference to a port; none is the first one.
func (w Workload) validatePort(p *problems, field, name string) {
	switch {
	case len(w.Ports) == 0:
		p.add(field, "needs a port, and ports has none")
	case name != "" && !slices.ContainsFunc(w.Ports, func(port WorkloadPort) bool { return port.Name == name }):
		p.add(field, "%q is not the name of one of the ports", name)
	}
}

func (w Workload) validateEnv(p *problems, field string) {
	for name := range w.Env {
		if !variablePattern.MatchString(name) {
			p.add(field+".env", "%q is not a variable's name", name)
		}
	}
	for name, ref := range w.EnvRefs {
		at := field + ".envRefs." + name
		if !variablePattern.MatchString(name) {
			p.add(at, "%q is not a variable's name", name)
		}
		if _, twice := w.Env[name]; twice {
			p.add(at, "is in env as well")
		}
		secretOrConfigMap(p, at, ref.Secret, ref.ConfigMap)
		if ref.Key == "" {
			p.add(at+".key", "is required: the key of the Secret or ConfigMap")
		}
	}
	for i, from := range w.EnvFrom {
		secretOrConfigMap(p, fmt.Sprintf("%s.envFrom[%d]", field, i), from.Secret, from.ConfigMap)
	}
}

func secretOrConfigMap(p *problems, field, secret, configMap string) {
	if (secret == "") == (configMap == "") {
		p.add(field, "needs exactly one of secret and configMap")
		return
	}
	objectName(p, field, secret+configMap)
}

func (r *Resources) validate(p *problems, field string) {
	if r == nil {
		return
	}
	for kind, quantities := range map[string]map[string]string{"requests": r.Requests, "limits": r.Limits} {
		for name, quantity := range quantities {
			validateQuantity(p, field+"."+kind+"."+name, quantity)
		}
	}
}

func (w Workload) validateProbe(p *problems, field string, probe Probe) {
	kinds := 0
	if probe.HTTP != nil {
		kinds++
		w.validatePort(p, field+".http.port", probe.HTTP.Port)
		if probe.HTTP.Path != "" && !strings.HasPrefix(probe.HTTP.Path, "/") {
			p.add(field+".http.path", "%q does not begin with /", probe.HTTP.Path)
		}
	}
	if probe.TCP != nil {
		kinds++
		w.validatePort(p, field+".tcp.port", probe.TCP.Port)
	}
	if len(probe.Exec) > 0 {
		kinds++
	}
	if kinds != 1 {
		p.add(field, "needs exactly one of http, tcp and exec")
	}
	for name, n := range map[string]int{"initialDelaySeconds": probe.InitialDelaySeconds, "periodSeconds": probe.PeriodSeconds, "timeoutSeconds": probe.TimeoutSeconds, "failureThreshold": probe.FailureThreshold} {
		notNegative(p, field+"."+name, &n)
	}
}

func (v Volume) validate(p *problems, field, name string) {
	if !labelPattern.MatchString(name) {
		p.add(field, "%q is not a volume's name: lower-case letters, digits and dashes", name)
	}
	if !path.IsAbs(v.Path) || v.Path == "/" || path.Clean(v.Path) != v.Path {
		p.add(field+".path", "%q is not an absolute path below /", v.Path)
	}
	if v.SubPath != "" && (path.IsAbs(v.SubPath) || slices.Contains(strings.Split(v.SubPath, "/"), "..")) {
		p.add(field+".subPath", "%q leads out of the volume", v.SubPath)
	}
	kinds := 0
	for _, set := range []bool{v.EmptyDir != nil, v.Secret != "", v.ConfigMap != "", v.Claim != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		p.add(field, "needs exactly one of emptyDir, secret, configMap and claim")
	}
	if name := v.Secret + v.ConfigMap; name != "" {
		objectName(p, field, name)
	}
	if v.EmptyDir != nil && v.EmptyDir.SizeLimit != "" {
		validateQuantity(p, field+".emptyDir.sizeLimit", v.EmptyDir.SizeLimit)
	}
	if c := v.Claim; c != nil {
		c.validate(p, field+".claim")
	}
}

func (c Claim) validate(p *problems, field string) {
	switch {
	case (c.Name == "") == (c.Size == ""):
		p.add(field, "needs either name, of a claim that exists, or size, of one to make")
	case c.Name != "":
		objectName(p, field+".name", c.Name)
	default:
		validateQuantity(p, field+".size", c.Size)
	}
	among(p, field+".accessMode", c.AccessMode, "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany")
}

func (w Workload) validateNetwork(p *problems, field string) {
	if w.Service != nil {
		among(p, field+".service.type", w.Service.Type, "ClusterIP", "NodePort", "LoadBalancer")
	}
	if w.Ingress == nil {
		return
	}
	at := field + ".ingress"
	if w.Service != nil && w.Service.Disabled {
		p.add(at, "needs the Service, which is disabled")
	}
	if len(w.Ingress.Hosts) == 0 {
		p.add(at+".hosts", "needs a host")
	}
	for i, host := range w.Ingress.Hosts {
		at := fmt.Sprintf("%s.hosts[%d]", at, i)
		if !hostPattern.MatchString(host.Host) {
			p.add(at+".host", "%q is not a host name", host.Host)
		}
		if host.Path != "" && !strings.HasPrefix(host.Path, "/") {
			p.add(at+".path", "%q does not begin with /", host.Path)
		}
		w.validatePort(p, at+".port", host.Port)
		if host.TLSSecret != "" {
			objectName(p, at+".tlsSecret", host.TLSSecret)
		}
	}
}

func (w Workload) validateScale(p *problems, field string) {
	if a := w.Autoscaling; a != nil {
		at := field + ".autoscaling"
		if a.MinReplicas < 0 || a.MaxReplicas < max(1, a.MinReplicas) {
			p.add(at+".maxReplicas", "%d is less than minReplicas, or than 1", a.MaxReplicas)
		}
		if a.CPU < 0 || a.Memory < 0 {
			p.add(at, "cpu and memory are percents of the requests")
		}
	}
	if d := w.Disruption; d != nil {
		at := field + ".podDisruptionBudget"
		if (d.MinAvailable == nil) == (d.MaxUnavailable == nil) {
			p.add(at, "needs exactly one of minAvailable and maxUnavailable")
		}
		countOrShare(p, at+".minAvailable", d.MinAvailable)
		countOrShare(p, at+".maxUnavailable", d.MaxUnavailable)
	}
}

func (s *WorkloadSecurity) validate(p *problems, field string) {
	if s == nil {
		return
	}
	for name, id := range map[string]*int64{"runAsUser": s.RunAsUser, "runAsGroup": s.RunAsGroup, "fsGroup": s.FSGroup} {
		if id != nil && (*id < 0 || *id == 0 && name == "runAsUser") {
			p.add(field+"."+name, "%d is root, or no id; the app runs as another user", *id)
		}
	}
	for i, capability := range s.Capabilities {
		if !capPattern.MatchString(capability) || strings.HasPrefix(capability, "CAP_") || capability == "ALL" {
			p.add(fmt.Sprintf("%s.capabilities[%d]", field, i), "%q is not a capability such as NET_BIND_SERVICE", capability)
		}
	}
}

func notNegative(p *problems, field string, n *int) {
	if n != nil && *n < 0 {
		p.add(field, "is negative")
	}
}

// among holds a word; none is the default.
func among(p *problems, field, word string, words ...string) {
	if word != "" && !slices.Contains(words, word) {
		p.add(field, "%q is not one of %s", word, strings.Join(words, ", "))
	}
}

func objectName(p *problems, field, name string) {
	if len(name) > 253 || !subdomainPattern.MatchString(name) {
		p.add(field, "%q is not the name of an object: lower-case letters, digits, dashes and dots", name)
	}
}

func validateQuantity(p *problems, field, quantity string) {
	if !quantityPattern.MatchString(quantity) {
		p.add(field, "%q is not a quantity such as 100m or 64Mi", quantity)
	}
}

// countOrShare holds a number of pods or a percentage, as it comes from JSON
// and from YAML.
func countOrShare(p *problems, field string, value any) {
	if value != nil {
		countOrShareOf(p, field, value, "pods")
	}
}

// countOrShareOf holds a number of things or a percentage, and reports whether
// it is one.
func countOrShareOf(p *problems, field string, value any, things string) bool {
	switch v := value.(type) {
	case int:
		if v >= 0 {
			return true
		}
	case int64:
		if v >= 0 {
			return true
		}
	case float64:
		if v >= 0 && v == math.Trunc(v) {
			return true
		}
	case string:
		if percentPattern.MatchString(v) {
			return true
		}
	}
	p.add(field, "%v is neither a number of %s nor a share such as 25%%", value, things)
	return false
}

// validateSource holds that a chart comes from one place.
func (s ChartSource) validateSource(p *problems, field string) {
	set := map[string]bool{"path": s.Path != "", "builder": s.Builder != nil, "workload": s.Workload != nil}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		p.add(field+".path", "is required: the chart's folder; or in its place builder or workload")
	case 1:
	default:
		p.add(field, "has %s; keep one", strings.Join(found, " and "))
	}
	if b := s.Builder; b != nil && b.Plugin != "" && (!strings.HasPrefix(b.Plugin, "harmony-") || !labelPattern.MatchString(b.Plugin)) {
		p.add(field+".builder.plugin", "%q is not a plugin's name, harmony- and lower-case letters, digits and dashes", b.Plugin)
	}
	if s.Workload != nil {
		s.Workload.validate(p, field+".workload")
	}
	if s.Path == "" && (s.Builder != nil || s.Workload != nil) && s.Image != (ChartImage{}) {
		p.add(field+".image", "is for path only: other charts know where the image goes")
	}
}
