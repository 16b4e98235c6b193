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
	// Timeout bounds a scrape.
	Timeout Duration `json:"timeout,omitempty"`
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
	// Labels are added to the alert, as are app, namespace and severity.
	Labels map[string]string `json:"labels,omitempty"`
	// Summary is one line, Description more, and Runbook the URL of what to do.
	Summary string `json:"summary,omitempty"`
	// Description says more, for the people who get the alert.
	Description string `json:"description,omitempty"`
	// Runbook is the URL of what to do.
	Runbook string `json:"runbook,omitempty"`
}

// AlertRoute sends alerts of the app to somebody. Exactly one of Webhook, Slack,
// PagerDuty and Email is set. What must stay secret is named, never written.
type AlertRoute struct {
	// Name is unique within the app.
	Name string `json:"name"`
	// Match are labels that an alert must have; all of the app's when empty.
	Match map[string]string `json:"match,omitempty"`
	// GroupBy are labels: alerts that have the same values are sent together.
	GroupBy []string `json:"groupBy,omitempty"`
	// Repeat is the pause after which a lasting alert is sent again; the
	// environment's own when zero.
	Repeat Duration `json:"repeat,omitempty"`
	// Webhook posts alerts to a URL.
	Webhook *WebhookRoute `json:"webhook,omitempty"`
	// Slack sends alerts to a channel.
	Slack *SlackRoute `json:"slack,omitempty"`
	// PagerDuty opens incidents; the secret is an integration key.
	PagerDuty *SecretRoute `json:"pagerDuty,omitempty"`
	// Email sends mail.
	Email *EmailRoute `json:"email,omitempty"`
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
	// Channel is the channel or user.
	Channel string `json:"channel"`
	// Secret holds the URL of the incoming webhook; the environment's own when
	// absent.
	Secret *SecretKey `json:"secret,omitempty"`
}

// SecretRoute is a receiver that takes a key, and nothing else.
type SecretRoute struct {
	// Secret is where the credential is.
	Secret SecretKey `json:"secret"`
}

// EmailRoute sends mail, by the environment's own mail server.
type EmailRoute struct {
	// To is the recipient.
	To string `json:"to"`
}

// SecretKey is a key of a Secret in the target's namespace.
type SecretKey struct {
	// Name is the Secret's.
	Name string `json:"name"`
	// Key is that of its data.
	Key string `json:"key"`
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
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Target is the target's name and Adapter the one that did it.
	Target string `json:"target"`
	// Adapter is what set it up.
	Adapter string `json:"adapter"`
	// Context is the kubeconfig context, where one was named.
	Context string `json:"context,omitempty"`
	// Namespace is the app's.
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
	Kind string `json:"kind"`
	// Name is the object's.
	Name string `json:"name"`
	// Change is what was done to it.
	Change Change `json:"change"`
	// Cluster is the cluster of a multiCluster target that it is on.
	Cluster string `json:"cluster,omitempty"`
}
