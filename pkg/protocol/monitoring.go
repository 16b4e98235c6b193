package protocol

// Monitoring says what is watched of an app once it runs. It names ideas that
// every monitoring system has; which one it is, is the topology's.
type Monitoring struct {
	// Metrics says where the app tells its metrics.
	Metrics *Metrics `json:"metrics,omitempty"`
	// Alerts are raised about the app.
	Alerts []Alert `json:"alerts,omitempty"`
	// Routes say who hears of the app's alerts. An alert goes along every route
	// that matches it; one that none matches goes where the environment sends
	// all others.
	Routes []AlertRoute `json:"routes,omitempty"`
}

// Metrics is the endpoint of an app's Services from which metrics are collected,
// in the text format of Prometheus or OpenMetrics.
type Metrics struct {
	// Port is the name of a port of the Service, or the number of a port of the
	// pods behind it.
	Port any `json:"port"`
	// Path is /metrics when empty.
	Path string `json:"path,omitempty"`
	// Scheme is http or https; http when empty.
	Scheme string `json:"scheme,omitempty"`
	// Interval is the pause between two collections, and Timeout the bound of
	// one; the environment's own when zero. Both are whole milliseconds.
	Interval Duration `json:"interval,omitempty"`
	Timeout  Duration `json:"timeout,omitempty"`
	// Services are the labels of the Services that are asked;
	// app.kubernetes.io/instance with the app's name when empty, as the charts
	// have it that Helm and harmony generate.
	Services map[string]string `json:"services,omitempty"`
}

// Alert is one condition that somebody has to hear of.
type Alert struct {
	// Name is unique within the app: FleetOperatorDown.
	Name string `json:"name"`
	// Expr holds when the alert is to be raised, in PromQL. In it ${app},
	// ${namespace} and ${target} stand for those of the deployment.
	Expr string `json:"expr"`
	// For is how long it has to hold; at once when zero.
	For Duration `json:"for,omitempty"`
	// Severity becomes a label: warning when empty.
	Severity string `json:"severity,omitempty"`
	// Labels are added to the alert, beside app, namespace and severity.
	Labels map[string]string `json:"labels,omitempty"`
	// Summary is one line, Description more, and Runbook the URL of what to do.
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	Runbook     string `json:"runbook,omitempty"`
}

// AlertRoute sends alerts of the app to somebody. Exactly one of Webhook, Slack,
// PagerDuty and Email is set. What must stay secret is named, never written.
type AlertRoute struct {
	// Name is unique within the app.
	Name string `json:"name"`
	// Match are labels that an alert must have; all of the app's when empty.
	Match map[string]string `json:"match,omitempty"`
	// GroupBy are labels: alerts that have the same are told together.
	GroupBy []string `json:"groupBy,omitempty"`
	// Repeat is the pause after which a lasting alert is told again; the
	// environment's own when zero.
	Repeat    Duration      `json:"repeat,omitempty"`
	Webhook   *WebhookRoute `json:"webhook,omitempty"`
	Slack     *SlackRoute   `json:"slack,omitempty"`
	PagerDuty *SecretRoute  `json:"pagerDuty,omitempty"`
	Email     *EmailRoute   `json:"email,omitempty"`
}

// WebhookRoute posts alerts to a URL. Exactly one field is set.
type WebhookRoute struct {
	// URL is absolute, http or https, and no secret.
	URL string `json:"url,omitempty"`
	// Secret holds a URL that is one.
	Secret *SecretKey `json:"secret,omitempty"`
}

// SlackRoute posts alerts to a channel.
type SlackRoute struct {
	Channel string `json:"channel"`
	// Secret holds the URL of the incoming webhook; the environment's own when
	// absent.
	Secret *SecretKey `json:"secret,omitempty"`
}

// SecretRoute is a receiver that takes a key, and nothing else.
type SecretRoute struct {
	Secret SecretKey `json:"secret"`
}

// EmailRoute sends mail, by the environment's own mail server.
type EmailRoute struct {
	To string `json:"to"`
}

// SecretKey is a key of a Secret in the target's namespace.
type SecretKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// Change is what became of one object.
type Change string

// The changes of an object.
const (
	ChangeCreated   Change = "created"
	ChangeUpdated   Change = "updated"
	ChangeRemoved   Change = "removed"
	ChangeUnchanged Change = "unchanged"
)

// MonitoringResult tells what watches an app on a target.
type MonitoringResult struct {
	Metadata `json:"-"`
	// Target is the target's name and Adapter the one that did it.
	Target  string `json:"target"`
	Adapter string `json:"adapter"`
	// Context is the kubeconfig context, where one was named.
	Context   string `json:"context,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Objects are those that are there, and those that were removed.
	Objects []MonitoringObject `json:"objects"`
	// Summary is a line for people.
	Summary string `json:"summary,omitempty"`
	// Unchanged is true when there was nothing to do.
	Unchanged bool `json:"unchanged,omitempty"`
	// Planned is true in a dry run: nothing was done.
	Planned bool `json:"planned,omitempty"`
}

// DocumentKind implements [Spec].
func (MonitoringResult) DocumentKind() Kind { return KindMonitoringResult }

// MonitoringObject is one object of a monitoring system.
type MonitoringObject struct {
	// Kind is the object's own: ServiceMonitor.
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Change Change `json:"change"`
	// Cluster is the cluster of a multiCluster target that it is on.
	Cluster string `json:"cluster,omitempty"`
}
