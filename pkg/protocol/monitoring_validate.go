package protocol

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

var (
	labelKeyPattern   = newPattern(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelValuePattern = newPattern(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
)

// ownLabels are those of an alert that harmony sets.
var ownLabels = [...]string{"alertname", "app", "namespace", "severity"}

func (m Monitoring) validate(p *problems, field string) {
	if m.Metrics != nil {
		m.Metrics.validate(p, field+".metrics")
	}
	distinct(p, field+".alerts", "alert", m.Alerts, func(a Alert) string { return a.Name })
	for i, alert := range m.Alerts {
		alert.validate(p, fmt.Sprintf("%s.alerts[%d]", field, i))
	}
	distinct(p, field+".routes", "route", m.Routes, func(r AlertRoute) string { return r.Name })
	for i, route := range m.Routes {
		route.validate(p, fmt.Sprintf("%s.routes[%d]", field, i))
	}
}

func (m Metrics) validate(p *problems, field string) {
	switch port := m.Port.(type) {
	case nil:
		p.add(field+".port", "is required: the name of the Service's port, or the number of the pods'")
	case string:
		p.must(portNamePattern.MatchString(port), field+".port", "%q is not the name of a port", port)
	default:
		number := toFloat(port)
		p.must(number >= 1 && number <= math.MaxUint16 && number == math.Trunc(number), field+".port", "%v is neither the name of a port nor its number", port)
	}
	p.urlPath(field+".path", m.Path)
	p.among(field+".scheme", m.Scheme, "http", "https")
	p.milliseconds(field+".interval", m.Interval)
	p.milliseconds(field+".timeout", m.Timeout)
	p.must(m.Interval <= 0 || m.Timeout <= m.Interval, field+".timeout", "%s is longer than the interval, %s", time.Duration(m.Timeout), time.Duration(m.Interval))
	for key, value := range m.Services {
		p.must(labelKeyPattern.MatchString(key) && labelValuePattern.MatchString(value), field+".services", "%s: %q is not a label of a Service", key, value)
	}
}

// milliseconds requires a whole number of them, which is what Prometheus takes.
func (p *problems) milliseconds(field string, d Duration) {
	p.notNegative(field, int64(d))
	p.must(d < 0 || time.Duration(d)%time.Millisecond == 0, field, "%s is not a whole number of milliseconds", time.Duration(d))
}

func (p *problems) labelName(field, name string, ok bool) {
	p.must(ok && variablePattern.MatchString(name), field, "%q is not a label's name: letters, digits and _", name)
}

func (a Alert) validate(p *problems, field string) {
	p.must(variablePattern.MatchString(a.Name), field+".name", "%q is not an alert's name: letters, digits and _, such as FleetOperatorDown", a.Name)
	problem := unbalanced(a.Expr)
	p.must(problem == "", field+".expr", "%s", problem)
	p.milliseconds(field+".for", a.For)
	p.must(labelValuePattern.MatchString(a.Severity), field+".severity", "%q is not a label's value, such as critical", a.Severity)
	for name := range a.Labels {
		if slices.Contains(ownLabels[:], name) {
			p.add(field+".labels."+name, "is set by harmony")
			continue
		}
		p.labelName(field+".labels", name, !strings.HasPrefix(name, "__"))
	}
	if a.Runbook != "" {
		p.url(field+".runbook", a.Runbook)
	}
}

// unbalanced says what is wrong with the brackets and quotes of an expression;
// "" when nothing is. The rest is for the monitoring system to check.
func unbalanced(expr string) string {
	if strings.TrimSpace(expr) == "" {
		return "is required, in PromQL, for example up == 0"
	}
	const opening, closing = "([{", ")]}"
	var open []byte
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case strings.IndexByte(opening, c) >= 0:
			open = append(open, c)
		case strings.IndexByte(closing, c) >= 0:
			if len(open) == 0 || open[len(open)-1] != opening[strings.IndexByte(closing, c)] {
				return fmt.Sprintf("%c at character %d closes nothing", c, i+1)
			}
			open = open[:len(open)-1]
		case c == '"' || c == '\'' || c == '`':
			end := endOfText(expr, i)
			if end < 0 {
				return fmt.Sprintf("the text that begins at character %d does not end", i+1)
			}
			i = end
		case c == '#':
			comment, _, _ := strings.Cut(expr[i:], "\n")
			i += len(comment)
		}
	}
	if len(open) > 0 {
		return fmt.Sprintf("%c is not closed", open[len(open)-1])
	}
	return ""
}

// endOfText is where the quoted text that begins at i ends; -1 when it does not.
func endOfText(expr string, i int) int {
	quote := expr[i]
	for i++; i < len(expr); i++ {
		switch {
		case expr[i] == quote:
			return i
		case expr[i] == '\\' && quote != '`':
			i++
		}
	}
	return -1
}

func (r AlertRoute) validate(p *problems, field string) {
	p.must(labelPattern.MatchString(r.Name), field+".name", "%q is not a route's name: lower-case letters, digits and dashes", r.Name)
	for name := range r.Match {
		p.labelName(field+".match", name, true)
	}
	for i, name := range r.GroupBy {
		at := fmt.Sprintf("%s.groupBy[%d]", field, i)
		p.labelName(at, name, true)
		p.once(at, r.GroupBy, i)
	}
	p.milliseconds(field+".repeat", r.Repeat)
	p.one(field, "webhook, slack, pagerDuty and email", r.Webhook != nil, r.Slack != nil, r.PagerDuty != nil, r.Email != nil)
	if w := r.Webhook; w != nil {
		p.one(field+".webhook", "url and secret", w.URL != "", w.Secret != nil)
		if w.URL != "" && w.Secret == nil {
			p.url(field+".webhook.url", w.URL)
		}
		w.Secret.validate(p, field+".webhook.secret")
	}
	if s := r.Slack; s != nil {
		p.must(s.Channel != "", field+".slack.channel", "is required")
		s.Secret.validate(p, field+".slack.secret")
	}
	if r.PagerDuty != nil {
		r.PagerDuty.Secret.validate(p, field+".pagerDuty.secret")
	}
	if r.Email != nil {
		p.must(strings.Contains(r.Email.To, "@"), field+".email.to", "%q is not a mail address", r.Email.To)
	}
}

func (s *SecretKey) validate(p *problems, field string) {
	if s != nil {
		p.object(field+".name", s.Name)
		p.must(s.Key != "", field+".key", "is required: the key of the Secret")
	}
}
