package protocol

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

var (
	alertPattern      = newPattern(`^[A-Za-z_][A-Za-z0-9_]*$`)
	labelNamePattern  = newPattern(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	labelKeyPattern   = newPattern(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelValuePattern = newPattern(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
)

// ownLabels are those of an alert that harmony sets.
var ownLabels = [...]string{"alertname", "app", "namespace", "severity"}

func (m *Monitoring) validate(p *problems, field string) {
	if m == nil {
		return
	}
	if m.Metrics != nil {
		m.Metrics.validate(p, field+".metrics")
	}
	var names []string
	for i, alert := range m.Alerts {
		at := fmt.Sprintf("%s.alerts[%d]", field, i)
		if slices.Contains(names, alert.Name) {
			p.add(at+".name", "%q is the name of an earlier alert as well", alert.Name)
		}
		names = append(names, alert.Name)
		alert.validate(p, at)
	}
	names = nil
	for i, route := range m.Routes {
		at := fmt.Sprintf("%s.routes[%d]", field, i)
		if slices.Contains(names, route.Name) {
			p.add(at+".name", "%q is the name of an earlier route as well", route.Name)
		}
		names = append(names, route.Name)
		route.validate(p, at)
	}
}

func (m Metrics) validate(p *problems, field string) {
	validateMetricsPort(p, field+".port", m.Port)
	if m.Path != "" && !strings.HasPrefix(m.Path, "/") {
		p.add(field+".path", "%q does not begin with /", m.Path)
	}
	among(p, field+".scheme", m.Scheme, "http", "https")
	wholeMilliseconds(p, field+".interval", m.Interval)
	wholeMilliseconds(p, field+".timeout", m.Timeout)
	if m.Interval > 0 && m.Timeout > m.Interval {
		p.add(field+".timeout", "%s is longer than the interval, %s", time.Duration(m.Timeout), time.Duration(m.Interval))
	}
	for key, value := range m.Services {
		if !labelKeyPattern.MatchString(key) || !labelValuePattern.MatchString(value) {
			p.add(field+".services", "%s: %q is not a label of a Service", key, value)
		}
	}
}

// validateMetricsPort holds a port as it comes from JSON and from YAML.
func validateMetricsPort(p *problems, field string, port any) {
	number := math.NaN()
	switch v := port.(type) {
	case nil:
		p.add(field, "is required: the name of the Service's port, or the number of the pods'")
		return
	case string:
		if !portNamePattern.MatchString(v) {
			p.add(field, "%q is not the name of a port", v)
		}
		return
	case int:
		number = float64(v)
	case int64:
		number = float64(v)
	case float64:
		number = v
	}
	if !(number >= 1 && number <= math.MaxUint16 && number == math.Trunc(number)) {
		p.add(field, "%v is neither the name of a port nor its number", port)
	}
}

func wholeMilliseconds(p *problems, field string, d Duration) {
	switch {
	case d < 0:
		p.add(field, "is negative")
	case time.Duration(d)%time.Millisecond != 0:
		p.add(field, "%s is not a number of whole milliseconds", time.Duration(d))
	}
}

func (a Alert) validate(p *problems, field string) {
	if !alertPattern.MatchString(a.Name) {
		p.add(field+".name", "%q is not an alert's name: letters, digits and _, such as FleetOperatorDown", a.Name)
	}
	if problem := unbalanced(a.Expr); problem != "" {
		p.add(field+".expr", "%s", problem)
	}
	wholeMilliseconds(p, field+".for", a.For)
	if !labelValuePattern.MatchString(a.Severity) {
		p.add(field+".severity", "%q is not a label's value, such as critical", a.Severity)
	}
	for name := range a.Labels {
		switch {
		case slices.Contains(ownLabels[:], name):
			p.add(field+".labels."+name, "is set by harmony")
		case !labelNamePattern.MatchString(name) || strings.HasPrefix(name, "__"):
			p.add(field+".labels", "%q is not a label's name: letters, digits and _", name)
		}
	}
	if a.Runbook != "" {
		validateURL(p, field+".runbook", a.Runbook)
	}
}

// unbalanced says what is wrong with the brackets and quotes of an expression;
// "" when nothing is. The rest is for the monitoring system to tell.
func unbalanced(expr string) string {
	if strings.TrimSpace(expr) == "" {
		return "is required, in PromQL, for example up == 0"
	}
	pairs := map[byte]byte{')': '(', ']': '[', '}': '{'}
	var open []byte
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; c {
		case '(', '[', '{':
			open = append(open, c)
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != pairs[c] {
				return fmt.Sprintf("%c at character %d closes nothing", c, i+1)
			}
			open = open[:len(open)-1]
		case '"', '\'', '`':
			end := endOfText(expr, i)
			if end < 0 {
				return fmt.Sprintf("the text that begins at character %d does not end", i+1)
			}
			i = end
		case '#':
			if end := strings.IndexByte(expr[i:], '\n'); end >= 0 {
				i += end
			} else {
				i = len(expr)
			}
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
	if !labelPattern.MatchString(r.Name) {
		p.add(field+".name", "%q is not a route's name: lower-case letters, digits and dashes", r.Name)
	}
	for name := range r.Match {
		if !labelNamePattern.MatchString(name) {
			p.add(field+".match", "%q is not a label's name: letters, digits and _", name)
		}
	}
	for i, name := range r.GroupBy {
		at := fmt.Sprintf("%s.groupBy[%d]", field, i)
		if !labelNamePattern.MatchString(name) {
			p.add(at, "%q is not a label's name: letters, digits and _", name)
		}
		if slices.Contains(r.GroupBy[:i], name) {
			p.add(at, "%q is named twice", name)
		}
	}
	wholeMilliseconds(p, field+".repeat", r.Repeat)
	kinds := 0
	for _, set := range []bool{r.Webhook != nil, r.Slack != nil, r.PagerDuty != nil, r.Email != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		p.add(field, "needs exactly one of webhook, slack, pagerDuty and email")
	}
	r.validateReceiver(p, field)
}

func (r AlertRoute) validateReceiver(p *problems, field string) {
	if w := r.Webhook; w != nil {
		switch {
		case (w.URL == "") == (w.Secret == nil):
			p.add(field+".webhook", "needs exactly one of url and secret")
		case w.URL != "":
			validateURL(p, field+".webhook.url", w.URL)
		}
		w.Secret.validate(p, field+".webhook.secret")
	}
	if s := r.Slack; s != nil {
		if s.Channel == "" {
			p.add(field+".slack.channel", "is required")
		}
		s.Secret.validate(p, field+".slack.secret")
	}
	if r.PagerDuty != nil {
		r.PagerDuty.Secret.validate(p, field+".pagerDuty.secret")
	}
	if r.Email != nil && !strings.Contains(r.Email.To, "@") {
		p.add(field+".email.to", "%q is not a mail address", r.Email.To)
	}
}

func (s *SecretKey) validate(p *problems, field string) {
	if s == nil {
		return
	}
	objectName(p, field+".name", s.Name)
	if s.Key == "" {
		p.add(field+".key", "is required: the key of the Secret")
	}
}

// validateURL holds an absolute URL of http or https without credentials.
func validateURL(p *problems, field, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.add(field, "%q is not an absolute http or https URL", text)
	case u.User != nil:
		p.add(field, "holds credentials; a document must not")
	}
}
