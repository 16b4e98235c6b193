package protocol

// SmokeCheck is one check of a deployed app. Exactly one of its kinds is set: Rollout,
// HTTP, TCP, GRPC, Resource, Logs, Prometheus, Exec, Job, HelmTest, or one in Other.
type SmokeCheck struct {
	// Name is unique within the app.
	Name string `json:"name"`
	// Needs names the checks that must have passed before this one begins. Without them
	// it is skipped. A check runs beside those that it does not need.
	Needs []string `json:"needs,omitempty"`
	// Rollout waits until the workloads are rolled out.
	Rollout *RolloutCheck `json:"rollout,omitempty"`
	// HTTP makes a request.
	HTTP *HTTPCheck `json:"http,omitempty"`
	// TCP opens a connection.
	TCP *TCPCheck `json:"tcp,omitempty"`
	// GRPC asks for the health of a gRPC server.
	GRPC *GRPCCheck `json:"grpc,omitempty"`
	// Resource looks at fields of an object of the cluster.
	Resource *ResourceCheck `json:"resource,omitempty"`
	// Logs looks for lines that must not be written.
	Logs *LogsCheck `json:"logs,omitempty"`
	// Prometheus compares the result of a query.
	Prometheus *PrometheusCheck `json:"prometheus,omitempty"`
	// Exec runs a program on this machine.
	Exec *ExecCheck `json:"exec,omitempty"`
	// Job runs a container in the target's namespace. Its deadline is Timeout.
	Job *JobSpec `json:"job,omitempty"`
	// HelmTest runs the chart's tests.
	HelmTest *HelmTestCheck `json:"helmTest,omitempty"`
	// Other is a kind that is not built in, with its own fields: sql: {query: …} is the
	// executable harmony-check-sql on PATH, which gets them in a [CheckRequest]. In JSON it
	// is a field of that name, beside the ones of this type.
	Other map[string]map[string]any `json:"-"`
	// Timeout bounds the whole check, all attempts together; 60s when zero, and For
	// longer than that.
	Timeout Duration `json:"timeout,omitempty"`
	// StartupGrace is what an app that starts slowly gets before Timeout begins. The
	// check is tried in it too, and may pass.
	StartupGrace Duration `json:"startupGrace,omitempty"`
	// For is how long the check must hold without a failed attempt; an attempt is enough
	// when zero.
	For Duration `json:"for,omitempty"`
	// Interval is the pause between attempts; 1s when zero.
	Interval Duration `json:"interval,omitempty"`
	// Successes is how often in a row the check must hold; 1 when zero.
	Successes int `json:"successes,omitempty"`
}

// RolloutCheck holds when the workloads of the app's release are completely
// rolled out: every replica updated, available and none of the old left.
type RolloutCheck struct {
	// Workload limits the check to one, as kind/name: deployment/fleet-operator.
	Workload string `json:"workload,omitempty"`
}

// HTTPCheck sends one request, through the API server's service proxy or to a
// URL, and holds when the answer is as expected.
type HTTPCheck struct {
	// Service is a Service in the target's namespace. Exactly one of Service
	// and URL is set.
	Service string `json:"service,omitempty"`
	// Port is the service's port; its first one when zero.
	Port int `json:"port,omitempty"`
	// Scheme is http or https, for Service; http when empty.
	Scheme string `json:"scheme,omitempty"`
	// URL is absolute, http or https.
	URL string `json:"url,omitempty"`
	// Path is appended to the service's root or the URL.
	Path string `json:"path,omitempty"`
	// Method is GET when empty.
	Method string `json:"method,omitempty"`
	// Headers are those of the request. A value env:NAME or file:PATH, relative to the project
	// root, is read when the check begins, and is in no document.
	Headers map[string]string `json:"headers,omitempty"`
	// Body is sent as it is, or is what BodyFile, relative to the project root, contains.
	Body string `json:"body,omitempty"`
	// BodyFile is at most 1 MiB.
	BodyFile string `json:"bodyFile,omitempty"`
	// FollowRedirects sends the request on to where a redirect points, up to ten times. Headers
	// and body do not follow to another host, scheme or port. For a URL only.
	FollowRedirects bool `json:"followRedirects,omitempty"`
	// Expect is what the response must be.
	Expect HTTPExpect `json:"expect"`
	// TLS says how the server's certificate is verified.
	TLS *TLSConfig `json:"tls,omitempty"`
}

// HTTPExpect is the expected answer. What is not set is not looked at, but the
// status: without one, any of 200 to 399 will do.
type HTTPExpect struct {
	// Status is the response's; any from 200 to 399 when it is 0.
	Status int `json:"status,omitempty"`
	// Headers maps a header's name to the value that it must have.
	Headers map[string]string `json:"headers,omitempty"`
	// Body is a text that the body must contain.
	Body string `json:"body,omitempty"`
	// JSON lists what must hold of a JSON body.
	JSON []JSONExpect `json:"json,omitempty"`
	// Within is how long the whole answer may take.
	Within Duration `json:"within,omitempty"`
	// CertificateValidFor is how long the server's certificate must still be valid; for an
	// https URL only.
	CertificateValidFor Duration `json:"certificateValidFor,omitempty"`
}

// JSONExpect is one expectation of a JSON body.
type JSONExpect struct {
	// Path is a JSONPath as kubectl takes it: {.devices[0].id}.
	Path string `json:"path"`
	// Equals is the value that Path must have; when it is absent, Path must
	// only exist.
	Equals any `json:"equals,omitempty"`
}

// TLSConfig says how the server of an https URL is verified.
type TLSConfig struct {
	// CAFile is a PEM file relative to the project root.
	CAFile string `json:"caFile,omitempty"`
	// ServerName is verified instead of the URL's host.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// TCPCheck holds when a connection can be opened.
type TCPCheck struct {
	// Service is a Service in the target's namespace; the connection is opened
	// to one of its ready pods through the API server. Exactly one of Service
	// and Address is set.
	Service string `json:"service,omitempty"`
	// Port is the service's port.
	Port int `json:"port,omitempty"`
	// Address is host:port, reached directly.
	Address string `json:"address,omitempty"`
}

// GRPCCheck holds when a server says SERVING by the gRPC health checking protocol
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
type GRPCCheck struct {
	// Service is a Service in the target's namespace; one of its ready pods is asked,
	// through the API server. Exactly one of Service and Address is set.
	Service string `json:"service,omitempty"`
	// Port is the service's port; its first one when zero.
	Port int `json:"port,omitempty"`
	// Address is host:port, reached directly.
	Address string `json:"address,omitempty"`
	// Health is the name of the gRPC service that is asked for; empty is the server as a
	// whole.
	Health string `json:"health,omitempty"`
	// TLS encrypts the connection, and says how the server is verified. Without it the
	// connection is in the clear.
	TLS *TLSConfig `json:"tls,omitempty"`
}

// ResourceCheck holds when an object of the cluster, or each of those with a label, is
// as expected.
type ResourceCheck struct {
	// APIVersion is the group and version, or the version of the core group: apps/v1, v1.
	APIVersion string `json:"apiVersion"`
	// Kind is that of the object: Deployment.
	Kind string `json:"kind"`
	// Name is the object's. Exactly one of Name and Selector is set.
	Name string `json:"name,omitempty"`
	// Selector are labels that objects have.
	Selector map[string]string `json:"selector,omitempty"`
	// Namespace is the target's when empty. It is not used for kinds without a namespace.
	Namespace string `json:"namespace,omitempty"`
	// Condition is the type of a condition that must be True: Ready. Type=Status asks for
	// another status.
	Condition string `json:"condition,omitempty"`
	// JSON lists what must hold of each object.
	JSON []JSONExpect `json:"json,omitempty"`
	// AtLeast is how many objects Selector must find for which the rest holds; with it,
	// others may differ. Without it all must hold, and at least one must be there.
	AtLeast int `json:"atLeast,omitempty"`
}

// LogsCheck holds when no container of the app's pods writes a line that must not be.
// With [SmokeCheck.For] it is watched that long.
type LogsCheck struct {
	// Forbid are regular expressions in RE2's syntax
	// (https://github.com/google/re2/wiki/Syntax); one that matches a line fails the check
	// at once.
	Forbid []string `json:"forbid"`
	// Since is how long before the check's begin lines count; only new ones when zero.
	Since Duration `json:"since,omitempty"`
	// Workload limits the check to one, as kind/name: deployment/fleet-operator.
	Workload string `json:"workload,omitempty"`
}

// PrometheusCheck holds when each value of a query's result is within bounds. At least
// one bound is set.
type PrometheusCheck struct {
	// URL is that of a server with Prometheus' HTTP API
	// (https://prometheus.io/docs/prometheus/latest/querying/api/), with its path prefix.
	// Exactly one of Service and URL is set.
	URL string `json:"url,omitempty"`
	// Service is a Service, reached through the API server's proxy.
	Service string `json:"service,omitempty"`
	// Namespace is the service's; the target's when empty.
	Namespace string `json:"namespace,omitempty"`
	// Port is the service's port; 9090 when zero.
	Port int `json:"port,omitempty"`
	// Query is an instant query in PromQL. A vector of no sample fails the check, unless
	// Empty is set.
	Query string `json:"query"`
	// Min is the least value that holds.
	Min *float64 `json:"min,omitempty"`
	// Max is the greatest value that holds.
	Max *float64 `json:"max,omitempty"`
	// MaxIncrease is by how much of its earlier value a value may have grown: 0.1 is by ten
	// per cent. The earlier value is that of the same labels, Before ago.
	MaxIncrease *float64 `json:"maxIncrease,omitempty"`
	// Before is how far back the earlier value lies; 1h when zero.
	Before Duration `json:"before,omitempty"`
	// Empty lets a result without samples pass.
	Empty bool `json:"empty,omitempty"`
	// Headers are those of the request, as for [HTTPCheck].
	Headers map[string]string `json:"headers,omitempty"`
	// TLS says how the server of a URL is verified.
	TLS *TLSConfig `json:"tls,omitempty"`
}

// ExecCheck holds when a program exits with 0. It gets the documents Topology and AppSpec
// on its standard input, one JSON object a line, and the variables HARMONY_APP,
// HARMONY_VERSION, HARMONY_TARGET, HARMONY_CONTEXT and HARMONY_NAMESPACE; the latter two
// are empty where the target is not one namespace of one cluster. Its last lines of output
// are the message.
type ExecCheck struct {
	// Command is the program with its arguments; no shell is involved. A program with a
	// slash is relative to the project root, which is also where it runs; any other is
	// looked for on PATH.
	Command []string `json:"command"`
}

// HelmTestCheck holds when the test hooks of the chart that is deployed pass, as with helm
// test: one after another, by their weights, each deleted as its annotations say. Argo CD
// keeps no Helm release, so an app that it delivers has none to test.
type HelmTestCheck struct {
	// Names are those of the Pods and Jobs to run; all when empty. What else the tests bring
	// along, such as a ConfigMap, is made in any case.
	Names []string `json:"names,omitempty"`
}
