package prometheusoperator

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// instanceLabel is what Helm's and harmony's charts put on the objects of a
// release: its name.
const instanceLabel = "app.kubernetes.io/instance"

type kind struct {
	name     string
	resource schema.GroupVersionResource
}

func kinds() []kind {
	v1 := schema.GroupVersion{Group: "monitoring.coreos.com", Version: "v1"}
	alpha := schema.GroupVersion{Group: v1.Group, Version: "v1alpha1"}
	return []kind{
		{"ServiceMonitor", v1.WithResource("servicemonitors")},
		{"PrometheusRule", v1.WithResource("prometheusrules")},
		{"AlertmanagerConfig", alpha.WithResource("alertmanagerconfigs")},
	}
}

type place struct {
	app       protocol.AppSpec
	target    string
	namespace string
	labels    map[string]string // beside our own
}

// wanted are the specs of the objects that the app asks for, by kind and name.
func (p place) wanted() map[string]map[string]map[string]any {
	rules, configs, monitors := map[string]map[string]any{}, map[string]map[string]any{}, map[string]map[string]any{}
	if m := p.app.Monitoring; m != nil {
		if m.Metrics != nil {
			monitors[p.app.Name] = p.serviceMonitor(*m.Metrics)
		}
		if len(m.Alerts) > 0 {
			rules[p.app.Name] = p.rule(m.Alerts)
		}
		for _, route := range m.Routes {
			// An app's name has no dot: the routes of two apps never have one name.
			configs[p.app.Name+"."+route.Name] = p.alertmanagerConfig(route)
		}
	}
	return map[string]map[string]map[string]any{"ServiceMonitor": monitors, "PrometheusRule": rules, "AlertmanagerConfig": configs}
}

func (p place) object(k kind, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetAPIVersion(k.resource.GroupVersion().String())
	o.SetKind(k.name)
	o.SetNamespace(p.namespace)
	o.SetName(name)
	labels := map[string]string{}
	maps.Copy(labels, p.labels)
	labels[marks.App], labels[marks.ManagedBy] = p.app.Name, marks.Harmony
	o.SetLabels(labels)
	return o
}

func (p place) serviceMonitor(m protocol.Metrics) map[string]any {
	endpoint := map[string]any{"path": "/metrics"}
	if name, ok := m.Port.(string); ok {
		endpoint["port"] = name
	} else {
		endpoint["targetPort"] = number(m.Port)
	}
	setText(endpoint, "path", m.Path)
	setText(endpoint, "scheme", m.Scheme)
	setText(endpoint, "interval", duration(m.Interval))
	setText(endpoint, "scrapeTimeout", duration(m.Timeout))
	services := m.Services
	if len(services) == 0 {
		services = map[string]string{instanceLabel: p.app.Name}
	}
	return map[string]any{
		"jobLabel":  instanceLabel,
		"selector":  map[string]any{"matchLabels": texts(services)},
		"endpoints": []any{endpoint},
	}
}

func (p place) rule(alerts []protocol.Alert) map[string]any {
	fill := strings.NewReplacer("${app}", p.app.Name, "${namespace}", p.namespace, "${target}", p.target)
	var rules []any
	for _, a := range alerts {
		labels := texts(a.Labels)
		labels["app"], labels["namespace"], labels["severity"] = p.app.Name, p.namespace, "warning"
		setText(labels, "severity", a.Severity)
		annotations := map[string]any{}
		setText(annotations, "summary", fill.Replace(a.Summary))
		setText(annotations, "description", fill.Replace(a.Description))
		setText(annotations, "runbook_url", a.Runbook)
		rule := map[string]any{"alert": a.Name, "expr": fill.Replace(a.Expr), "labels": labels}
		setText(rule, "for", duration(a.For))
		if len(annotations) > 0 {
			rule["annotations"] = annotations
		}
		rules = append(rules, rule)
	}
	return map[string]any{"groups": []any{map[string]any{"name": p.app.Name, "rules": rules}}}
}

func (p place) alertmanagerConfig(r protocol.AlertRoute) map[string]any {
	equal := func(name, value string) any {
		return map[string]any{"name": name, "value": value, "matchType": "="}
	}
	matchers := []any{equal("app", p.app.Name)}
	for _, name := range slices.Sorted(maps.Keys(r.Match)) {
		matchers = append(matchers, equal(name, r.Match[name]))
	}
	route := map[string]any{"receiver": r.Name, "matchers": matchers}
	var names []any
	for _, name := range r.GroupBy {
		names = append(names, name)
	}
	if len(names) > 0 {
		route["groupBy"] = names
	}
	setText(route, "repeatInterval", duration(r.Repeat))
	field, config := receiver(r)
	config["sendResolved"] = true
	return map[string]any{
		"route":     route,
		"receivers": []any{map[string]any{"name": r.Name, field: []any{config}}},
	}
}

// receiver is the field of a receiver for a route, and what stands in it.
func receiver(r protocol.AlertRoute) (field string, config map[string]any) {
	config = map[string]any{}
	secret := func(name string, key *protocol.SecretKey) {
		if key != nil {
			config[name] = map[string]any{"name": key.Name, "key": key.Key}
		}
	}
	switch {
	case r.Webhook != nil:
		setText(config, "url", r.Webhook.URL)
		secret("urlSecret", r.Webhook.Secret)
		return "webhookConfigs", config
	case r.Slack != nil:
		config["channel"] = r.Slack.Channel
		secret("apiURL", r.Slack.Secret)
		return "slackConfigs", config
	case r.PagerDuty != nil:
		secret("routingKey", &r.PagerDuty.Secret)
		return "pagerdutyConfigs", config
	default: // a valid route has one of the four
		setText(config, "to", r.Email.To)
		return "emailConfigs", config
	}
}

func setText(fields map[string]any, name, text string) {
	if text != "" {
		fields[name] = text
	}
}

func texts(from map[string]string) map[string]any {
	all := map[string]any{}
	for key, value := range from {
		all[key] = value
	}
	return all
}

// number is a port as JSON or YAML gives it, in the type of an unstructured object.
func number(v any) int64 {
	switch n := v.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case float64:
		return int64(math.Round(n))
	}
	return 0
}

// duration is a whole number of milliseconds as Prometheus writes it, 1m30s; ""
// for none.
func duration(d protocol.Duration) string {
	var text strings.Builder
	rest := time.Duration(d)
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := rest / unit.size; n > 0 {
			fmt.Fprintf(&text, "%d%s", n, unit.name)
			rest %= unit.size
		}
	}
	return text.String()
}
