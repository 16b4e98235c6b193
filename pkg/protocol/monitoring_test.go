package protocol_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestMonitoringValidate(t *testing.T) {
	type monitoring = protocol.Monitoring
	alert := func(change func(*protocol.Alert)) monitoring {
		a := protocol.Alert{Name: "Down", Expr: "up == 0"}
		change(&a)
		return monitoring{Alerts: []protocol.Alert{a}}
	}
	route := func(r protocol.AlertRoute) monitoring {
		if r.Name == "" {
			r.Name = "r"
		}
		return monitoring{Routes: []protocol.AlertRoute{r}}
	}
	key := protocol.SecretKey{Name: "alerts", Key: "url"}
	mail := &protocol.EmailRoute{To: "fleet@example.com"}
	const at = "spec.monitoring."
	for name, test := range map[string]struct {
		have monitoring
		want []string
	}{
		"empty":           {monitoring{}, nil},
		"named port":      {monitoring{Metrics: &protocol.Metrics{Port: "http"}}, nil},
		"numbered port":   {monitoring{Metrics: &protocol.Metrics{Port: int64(8080)}}, nil},
		"port from JSON":  {monitoring{Metrics: &protocol.Metrics{Port: float64(8080)}}, nil},
		"no port":         {monitoring{Metrics: &protocol.Metrics{}}, []string{at + "metrics.port"}},
		"half a port":     {monitoring{Metrics: &protocol.Metrics{Port: 80.5}}, []string{at + "metrics.port"}},
		"high port":       {monitoring{Metrics: &protocol.Metrics{Port: 65536}}, []string{at + "metrics.port"}},
		"port of no type": {monitoring{Metrics: &protocol.Metrics{Port: true}}, []string{at + "metrics.port"}},
		"metrics": {monitoring{Metrics: &protocol.Metrics{
			Port: "Http", Path: "metrics", Scheme: "ftp", Interval: -1, Timeout: protocol.Duration(time.Microsecond), Services: map[string]string{"a b": "c"},
		}}, []string{at + "metrics.interval", at + "metrics.path", at + "metrics.port", at + "metrics.scheme", at + "metrics.services", at + "metrics.timeout"}},
		"timeout over the interval": {monitoring{Metrics: &protocol.Metrics{Port: "http", Interval: protocol.Duration(time.Second), Timeout: protocol.Duration(time.Minute)}}, []string{at + "metrics.timeout"}},

		"alert":           {alert(func(a *protocol.Alert) {}), nil},
		"same alert":      {monitoring{Alerts: []protocol.Alert{{Name: "Down", Expr: "a"}, {Name: "Down", Expr: "b"}}}, []string{at + "alerts[1].name"}},
		"name of alert":   {alert(func(a *protocol.Alert) { a.Name = "fleet down" }), []string{at + "alerts[0].name"}},
		"no expr":         {alert(func(a *protocol.Alert) { a.Expr = " " }), []string{at + "alerts[0].expr"}},
		"severity":        {alert(func(a *protocol.Alert) { a.Severity = "very bad" }), []string{at + "alerts[0].severity"}},
		"our label":       {alert(func(a *protocol.Alert) { a.Labels = map[string]string{"app": "x"} }), []string{at + "alerts[0].labels.app"}},
		"name of label":   {alert(func(a *protocol.Alert) { a.Labels = map[string]string{"a-b": "x"} }), []string{at + "alerts[0].labels"}},
		"runbook":         {alert(func(a *protocol.Alert) { a.Runbook = "wiki/fleet" }), []string{at + "alerts[0].runbook"}},
		"fraction of for": {alert(func(a *protocol.Alert) { a.For = 1 }), []string{at + "alerts[0].for"}},

		"route":            {route(protocol.AlertRoute{Email: mail}), nil},
		"no receiver":      {route(protocol.AlertRoute{}), []string{at + "routes[0]"}},
		"two receivers":    {route(protocol.AlertRoute{Email: mail, PagerDuty: &protocol.SecretRoute{Secret: key}}), []string{at + "routes[0]"}},
		"same route":       {monitoring{Routes: []protocol.AlertRoute{{Name: "r", Email: mail}, {Name: "r", Email: mail}}}, []string{at + "routes[1].name"}},
		"names":            {route(protocol.AlertRoute{Name: "R", Email: mail, Match: map[string]string{"a-b": ""}, GroupBy: []string{"a", "a", "-"}}), []string{at + "routes[0].groupBy[1]", at + "routes[0].groupBy[2]", at + "routes[0].match", at + "routes[0].name"}},
		"webhook":          {route(protocol.AlertRoute{Webhook: &protocol.WebhookRoute{Secret: &key}}), nil},
		"empty webhook":    {route(protocol.AlertRoute{Webhook: &protocol.WebhookRoute{}}), []string{at + "routes[0].webhook"}},
		"webhook's secret": {route(protocol.AlertRoute{Webhook: &protocol.WebhookRoute{URL: "https://u:p@example.com"}}), []string{at + "routes[0].webhook.url"}},
		"slack":            {route(protocol.AlertRoute{Slack: &protocol.SlackRoute{Secret: &protocol.SecretKey{Name: "A"}}}), []string{at + "routes[0].slack.channel", at + "routes[0].slack.secret.key", at + "routes[0].slack.secret.name"}},
		"pager":            {route(protocol.AlertRoute{PagerDuty: &protocol.SecretRoute{}}), []string{at + "routes[0].pagerDuty.secret.key", at + "routes[0].pagerDuty.secret.name"}},
		"mail":             {route(protocol.AlertRoute{Email: &protocol.EmailRoute{}}), []string{at + "routes[0].email.to"}},
	} {
		app := valid()
		app.Monitoring = &test.have
		if got := fieldsOf(t, app.Validate()); !slices.Equal(got, test.want) {
			t.Errorf("%s: problems at %q, want %q", name, got, test.want)
		}
	}
}

func TestAlertExpr(t *testing.T) {
	for expr, ok := range map[string]bool{
		`sum(rate(x{a="}",b='(',c=` + "`]`" + `}[5m])) > 1`: true,
		`x{a="\""} == 0`:           true,
		"x # not closed (\n == 0":  true,
		"x # the end (":            true,
		`sum(rate(x[5m]) > 1`:      false,
		`sum(rate(x[5m)]) > 1`:     false,
		`x) > 1`:                   false,
		`x{a="b} == 0`:             false,
		`x{a="b\"} == 0`:           false,
		"x{a=`b} == 0":             false,
		`absent(x{app="${app}"})`:  true,
		"# only a comment\n  \t\n": true, // not empty; the monitoring system tells
	} {
		app := valid()
		app.Monitoring = &protocol.Monitoring{Alerts: []protocol.Alert{{Name: "A", Expr: expr}}}
		if err := app.Validate(); (err == nil) != ok {
			t.Errorf("%s: got %v", expr, err)
		}
	}
}

func FuzzAlertExpr(f *testing.F) {
	f.Add(`sum(rate(x{a="b"}[5m])) > 1`)
	f.Add("`\\'\"")
	f.Fuzz(func(t *testing.T, expr string) {
		app := valid()
		app.Monitoring = &protocol.Monitoring{Alerts: []protocol.Alert{{Name: "A", Expr: expr}}}
		if err := app.Validate(); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}

func TestResultOf(t *testing.T) {
	const head = `{"apiVersion":"harmony.nationtech.io/v1","kind":"BackupResult","metadata":{"name":"shop","version":"1.0.0"},"spec":`
	for spec, want := range map[string]protocol.Result{
		`{"target":"staging","adapter":"s3","summary":"12 files","unchanged":true,"planned":true,"more":1}`: {Target: "staging", Adapter: "s3", Summary: "12 files", Unchanged: true, Planned: true},
		`{"target":7,"summary":"12 files","unchanged":"no"}`:                                                {Summary: "12 files"},
		`{}`: {},
	} {
		line := head + spec + "}"
		d, err := protocol.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		r := protocol.ResultOf(d)
		if r.Target != want.Target || r.Adapter != want.Adapter || r.Summary != want.Summary || r.Unchanged != want.Unchanged || r.Planned != want.Planned {
			t.Errorf("%s: %+v", spec, r)
		}
		if r.DocumentKind() != "BackupResult" || r.Identity().Name != "shop" {
			t.Errorf("kind %s of %q", r.DocumentKind(), r.Identity().Name)
		}
		again, err := protocol.Encode(r)
		if err != nil || string(again.Bytes()) != line {
			t.Errorf("encoded as %s, %v", again.Bytes(), err)
		}
	}
}
