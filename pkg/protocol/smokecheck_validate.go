package protocol

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validateChecks checks the smoke checks of an app, and that none waits for itself.
func validateChecks(p *problems, field string, app AppSpec) {
	checks := app.Smoke
	distinct(p, field, "check", checks, func(c SmokeCheck) string { return c.Name })
	for i, check := range checks {
		at := fmt.Sprintf("%s[%d]", field, i)
		check.validate(p, at, app)
		for j, name := range check.Needs {
			needs := fmt.Sprintf("%s.needs[%d]", at, j)
			known := slices.ContainsFunc(checks, func(c SmokeCheck) bool { return c.Name == name })
			switch {
			case !known:
				p.add(needs, "no check is named %q", name)
			case reaches(checks, name, check.Name, len(checks)):
				p.add(needs, "%s waits for %s and, with it, for itself", check.Name, name)
			default:
				p.once(needs, check.Needs, j)
			}
		}
	}
}

// reaches reports whether the check from needs to, or is it, by at most so many steps.
func reaches(checks []SmokeCheck, from, to string, steps int) bool {
	if from == to {
		return true
	}
	i := slices.IndexFunc(checks, func(c SmokeCheck) bool { return c.Name == from })
	if i < 0 || steps == 0 {
		return false
	}
	return slices.ContainsFunc(checks[i].Needs, func(name string) bool { return reaches(checks, name, to, steps-1) })
}

func (c SmokeCheck) validate(p *problems, field string, app AppSpec) {
	p.must(c.Name != "", field+".name", "is required")
	switch kinds := c.Kinds(); len(kinds) {
	case 0:
		p.add(field, "needs a kind: one of %s, or NAME of an executable harmony-check-NAME", strings.Join(CheckKinds(), ", "))
	case 1:
	default:
		p.add(field, "needs exactly one kind, and has %s", strings.Join(kinds, " and "))
	}
	switch {
	case c.HTTP != nil:
		c.HTTP.validate(p, field+".http")
	case c.TCP != nil:
		service{c.TCP.Service, c.TCP.Port, c.TCP.Address}.validate(p, field+".tcp")
	case c.GRPC != nil:
		service{c.GRPC.Service, c.GRPC.Port, c.GRPC.Address}.validate(p, field+".grpc")
		c.GRPC.TLS.validate(p, field+".grpc.tls")
	case c.Resource != nil:
		c.Resource.validate(p, field+".resource")
	case c.Logs != nil:
		c.Logs.validate(p, field+".logs")
	case c.Prometheus != nil:
		c.Prometheus.validate(p, field+".prometheus")
	case c.Exec != nil:
		c.Exec.validate(p, field+".exec")
	case c.Job != nil:
		c.Job.validate(p, field+".job", app)
	case c.HelmTest != nil:
		for i, name := range c.HelmTest.Names {
			at := fmt.Sprintf("%s.helmTest.names[%d]", field, i)
			p.object(at, name)
			p.once(at, c.HelmTest.Names, i)
		}
	}
	p.notNegative(field+".timeout", int64(c.Timeout))
	p.notNegative(field+".startupGrace", int64(c.StartupGrace))
	p.notNegative(field+".for", int64(c.For))
	p.must(c.Timeout <= 0 || c.For < c.Timeout, field+".timeout", "is over before the check can have held for %s", time.Duration(c.For))
	p.notNegative(field+".interval", int64(c.Interval))
	p.notNegative(field+".successes", int64(c.Successes))
}

func (c HTTPCheck) validate(p *problems, field string) {
	switch {
	case (c.Service == "") == (c.URL == ""):
		p.add(field, "needs exactly one of service and url")
	case c.URL != "":
		p.url(field+".url", c.URL)
	default:
		p.must(labelPattern.MatchString(c.Service), field+".service", "%q is not a service's name", c.Service)
	}
	p.among(field+".scheme", c.Scheme, "http", "https")
	p.urlPath(field+".path", c.Path)
	p.port(field+".port", c.Port)
	p.must(c.Body == "" || c.BodyFile == "", field+".bodyFile", "is there beside body; keep one")
	p.local(field+".bodyFile", c.BodyFile)
	validateHeaders(p, field+".headers", c.Headers)
	p.must(!c.FollowRedirects || c.Service == "", field+".followRedirects", "is for a url: a redirect of a service leads out of the API server's proxy")
	if c.TLS != nil {
		p.must(c.Service == "", field+".tls", "is for a url: the API server's proxy does not verify a service's certificate")
		c.TLS.validate(p, field+".tls")
	}
	c.Expect.validate(p, field+".expect")
	p.must(c.Expect.CertificateValidFor == 0 || strings.HasPrefix(c.URL, "https://"), field+".expect.certificateValidFor", "is for an https url")
}

func (e HTTPExpect) validate(p *problems, field string) {
	p.must(e.Status == 0 || e.Status >= 100 && e.Status <= 599, field+".status", "%d is not an HTTP status", e.Status)
	validatePaths(p, field, e.JSON)
	p.notNegative(field+".within", int64(e.Within))
	p.notNegative(field+".certificateValidFor", int64(e.CertificateValidFor))
}

func validatePaths(p *problems, field string, paths []JSONExpect) {
	for i, expect := range paths {
		p.must(expect.Path != "", fmt.Sprintf("%s.json[%d].path", field, i), "is required, for example {.status}")
	}
}

// validateHeaders looks at the values that are references.
func validateHeaders(p *problems, field string, headers map[string]string) {
	for name, value := range headers {
		if ref, err := ParseReference(value); err == nil && ref.File != "" {
			p.local(field+"."+name, ref.File)
		}
	}
}

func (c *TLSConfig) validate(p *problems, field string) {
	if c != nil {
		p.local(field+".caFile", c.CAFile)
	}
}

// service is a port of a Service, or an address in its place.
type service struct {
	name    string
	port    int
	address string
}

func (c service) validate(p *problems, field string) {
	switch {
	case (c.name == "") == (c.address == ""):
		p.add(field, "needs exactly one of service and address")
	case c.name != "":
		p.must(labelPattern.MatchString(c.name), field+".service", "%q is not a service's name", c.name)
	default:
		p.must(hostPort(c.address), field+".address", "%q is not host:port", c.address)
		p.must(c.port == 0, field+".port", "is for a service; an address has its own")
	}
	p.port(field+".port", c.port)
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	number, parseErr := strconv.ParseUint(port, 10, 16)
	return err == nil && parseErr == nil && host != "" && number > 0
}

func (c ResourceCheck) validate(p *problems, field string) {
	group, version, hasGroup := strings.Cut(c.APIVersion, "/")
	if !hasGroup {
		group, version = "", group
	}
	p.must(labelPattern.MatchString(version) && (!hasGroup || subdomainPattern.MatchString(group)), field+".apiVersion", "%q is not an API version such as v1 or apps/v1", c.APIVersion)
	p.must(kindPattern.MatchString(c.Kind), field+".kind", "%q is not a kind such as Deployment", c.Kind)
	p.must((c.Name == "") != (len(c.Selector) == 0), field, "needs exactly one of name and selector")
	if c.Name != "" {
		p.object(field+".name", c.Name)
	}
	for key, value := range c.Selector {
		p.must(labelKeyPattern.MatchString(key) && labelValuePattern.MatchString(value), field+".selector", "%s=%s is not a label", key, value)
	}
	if c.Namespace != "" {
		p.namespace(field+".namespace", c.Namespace)
	}
	p.notNegative(field+".atLeast", int64(c.AtLeast))
	p.must(c.AtLeast == 0 || len(c.Selector) > 0, field+".atLeast", "is for a selector")
	validatePaths(p, field, c.JSON)
}

var kindPattern = newPattern(`^[A-Z][A-Za-z0-9]*$`)

func (c LogsCheck) validate(p *problems, field string) {
	p.must(len(c.Forbid) > 0, field+".forbid", "is required: a regular expression for the lines that must not be written")
	for i, text := range c.Forbid {
		_, err := regexp.Compile(text)
		p.must(err == nil, fmt.Sprintf("%s.forbid[%d]", field, i), "%v", err)
	}
	p.notNegative(field+".since", int64(c.Since))
}

func (c PrometheusCheck) validate(p *problems, field string) {
	switch {
	case (c.Service == "") == (c.URL == ""):
		p.add(field, "needs exactly one of service and url")
	case c.URL != "":
		p.url(field+".url", c.URL)
		p.must(c.Namespace == "" && c.Port == 0, field, "has namespace or port, which are for a service; a url has its own")
	default:
		p.must(labelPattern.MatchString(c.Service), field+".service", "%q is not a service's name", c.Service)
		p.must(c.TLS == nil, field+".tls", "is for a url: the API server's proxy does not verify a service's certificate")
	}
	if c.Namespace != "" {
		p.namespace(field+".namespace", c.Namespace)
	}
	p.port(field+".port", c.Port)
	p.must(c.Query != "", field+".query", "is required")
	p.must(c.Min != nil || c.Max != nil || c.MaxIncrease != nil, field, "needs a bound: min, max or maxIncrease")
	p.must(c.MaxIncrease == nil || *c.MaxIncrease >= 0, field+".maxIncrease", "is negative")
	p.notNegative(field+".before", int64(c.Before))
	p.must(c.Before == 0 || c.MaxIncrease != nil, field+".before", "is for maxIncrease")
	validateHeaders(p, field+".headers", c.Headers)
	c.TLS.validate(p, field+".tls")
}

func (c ExecCheck) validate(p *problems, field string) {
	if len(c.Command) == 0 || c.Command[0] == "" {
		p.add(field+".command", "is required: the program, and its arguments")
		return
	}
	if strings.Contains(c.Command[0], "/") {
		p.local(field+".command[0]", c.Command[0])
	}
	for i, word := range c.Command {
		p.must(!strings.ContainsRune(word, 0), fmt.Sprintf("%s.command[%d]", field, i), "contains a NUL character")
	}
}
