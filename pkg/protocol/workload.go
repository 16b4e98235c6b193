package protocol

// Workload describes an app that runs as a Deployment and needs no chart of its
// own: a sound one is generated. Its values have the names of these fields, so
// that a target's values change any of them. What it has no word for is for a
// chart of the app's own, which may begin as the generated one.
type Workload struct {
	// Replicas is how many pods run; 1 when absent. Not looked at with
	// autoscaling.
	Replicas *int `json:"replicas,omitempty"`
	// Command replaces the image's entrypoint, Args its arguments.
	Command []string `json:"command,omitempty"`
	// Args are the arguments of the command.
	Args []string `json:"args,omitempty"`
	// Ports are those that the app listens on. Where there is one, a Service is
	// made.
	Ports []WorkloadPort `json:"ports,omitempty"`
	// Env are variables with their value. They are no place for secrets.
	Env map[string]string `json:"env,omitempty"`
	// EnvRefs are variables that take their value from a Secret or a ConfigMap.
	EnvRefs map[string]EnvRef `json:"envRefs,omitempty"`
	// EnvFrom takes every key of a Secret or a ConfigMap as a variable.
	EnvFrom []EnvFrom `json:"envFrom,omitempty"`
	// Resources are what a pod asks for, and may use at most.
	Resources *Resources `json:"resources,omitempty"`
	// The probes of the app's container.
	StartupProbe *Probe `json:"startupProbe,omitempty"`
	// ReadinessProbe decides when a pod gets traffic.
	ReadinessProbe *Probe `json:"readinessProbe,omitempty"`
	// LivenessProbe decides when the container is restarted.
	LivenessProbe *Probe `json:"livenessProbe,omitempty"`
	// Volumes are mounted into the app's container, by their name. The root file
	// system is read-only: what the app writes to is a volume.
	Volumes map[string]Volume `json:"volumes,omitempty"`
	// Service changes the Service of the ports.
	Service *WorkloadService `json:"service,omitempty"`
	// Ingress makes the app reachable from outside the cluster.
	Ingress *Ingress `json:"ingress,omitempty"`
	// Autoscaling changes the number of replicas with the load.
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// Disruption bounds how many pods a maintenance may stop at once.
	Disruption *PodDisruptionBudget `json:"podDisruptionBudget,omitempty"`
	// ServiceAccount of the pods; one is made, without a token, when absent.
	ServiceAccount *ServiceAccount `json:"serviceAccount,omitempty"`
	// Security loosens what is strict by default.
	Security *WorkloadSecurity `json:"security,omitempty"`
	// PodAnnotations are added to every pod.
	PodAnnotations map[string]string `json:"podAnnotations,omitempty"`
	// TerminationGracePeriodSeconds is how long a pod may take to end; 30 when
	// absent.
	TerminationGracePeriodSeconds *int `json:"terminationGracePeriodSeconds,omitempty"`
}

// WorkloadPort is one port of the app's container.
type WorkloadPort struct {
	// Name is what probes, Service and Ingress call it: at most 15 lower-case
	// letters, digits and dashes.
	Name string `json:"name"`
	// Port is the container's.
	Port int `json:"port"`
	// ServicePort is the Service's port; Port when zero.
	ServicePort int `json:"servicePort,omitempty"`
	// Protocol is TCP when empty, else UDP or SCTP.
	Protocol string `json:"protocol,omitempty"`
}

// EnvRef is one key of a Secret or of a ConfigMap in the target's namespace.
type EnvRef struct {
	// Secret is the name of a Secret.
	Secret string `json:"secret,omitempty"`
	// ConfigMap is the name of a ConfigMap.
	ConfigMap string `json:"configMap,omitempty"`
	// Key is that of its data.
	Key string `json:"key"`
	// Optional lets the pod start without it.
	Optional bool `json:"optional,omitempty"`
}

// EnvFrom is a whole Secret or ConfigMap in the target's namespace.
type EnvFrom struct {
	// Secret is the name of a Secret.
	Secret string `json:"secret,omitempty"`
	// ConfigMap is the name of a ConfigMap.
	ConfigMap string `json:"configMap,omitempty"`
	// Prefix is put before every key.
	Prefix string `json:"prefix,omitempty"`
	// Optional lets the pod start without it.
	Optional bool `json:"optional,omitempty"`
}

// Resources are Kubernetes quantities by resource: cpu: 100m, memory: 64Mi.
type Resources struct {
	// Requests of cpu and memory are as the limits where they are absent, and cpu
	// 50m and memory 64Mi where there is no limit either.
	Requests map[string]string `json:"requests,omitempty"`
	// Limits are none where they are absent.
	Limits map[string]string `json:"limits,omitempty"`
}

// Probe is one probe. Exactly one of HTTP, TCP and Exec is set. What is zero is
// as Kubernetes has it.
type Probe struct {
	// HTTP makes a request.
	HTTP *ProbeHTTP `json:"http,omitempty"`
	// TCP opens a connection.
	TCP *ProbeTCP `json:"tcp,omitempty"`
	// Exec is a command that is run in the container.
	Exec []string `json:"exec,omitempty"`
	// InitialDelaySeconds is how long the first one is put off.
	InitialDelaySeconds int `json:"initialDelaySeconds,omitempty"`
	// PeriodSeconds is the time between two.
	PeriodSeconds int `json:"periodSeconds,omitempty"`
	// TimeoutSeconds bounds each.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// FailureThreshold is how many must fail in a row.
	FailureThreshold int `json:"failureThreshold,omitempty"`
}

// ProbeHTTP holds when a GET is answered with a status of 200 to 399.
type ProbeHTTP struct {
	// Path is / when empty.
	Path string `json:"path,omitempty"`
	// Port is the name of one of the ports; the first one when empty.
	Port string `json:"port,omitempty"`
}

// ProbeTCP holds when a connection can be opened.
type ProbeTCP struct {
	// Port is the name of one of the ports; the first one when empty.
	Port string `json:"port,omitempty"`
}

// Volume is mounted at a path of the app's container. Exactly one of EmptyDir,
// Secret, ConfigMap and Claim is set.
type Volume struct {
	// Path is where it is mounted, absolute.
	Path string `json:"path"`
	// SubPath is a part of the volume to mount.
	SubPath string `json:"subPath,omitempty"`
	// ReadOnly forbids writing.
	ReadOnly bool `json:"readOnly,omitempty"`
	// EmptyDir is empty at the start of each pod.
	EmptyDir *EmptyDir `json:"emptyDir,omitempty"`
	// Secret is the name of a Secret.
	Secret string `json:"secret,omitempty"`
	// ConfigMap is the name of a ConfigMap.
	ConfigMap string `json:"configMap,omitempty"`
	// Claim is storage that outlives the pod.
	Claim *Claim `json:"claim,omitempty"`
}

// EmptyDir is a folder that ends with its pod.
type EmptyDir struct {
	// SizeLimit is a quantity such as 64Mi.
	SizeLimit string `json:"sizeLimit,omitempty"`
	// Memory keeps it in memory.
	Memory bool `json:"memory,omitempty"`
}

// Claim is a PersistentVolumeClaim: one that exists, by its Name, or one that
// is made, of a Size. One that was made stays when the app is uninstalled.
type Claim struct {
	// Name is that of a claim that exists already.
	Name string `json:"name,omitempty"`
	// Size is a quantity such as 1Gi.
	Size string `json:"size,omitempty"`
	// StorageClass is the cluster's default when empty.
	StorageClass string `json:"storageClass,omitempty"`
	// AccessMode is ReadWriteOnce when empty. Of an app with a claim that only one
	// node or pod can have, the old pods end before the new ones begin.
	AccessMode string `json:"accessMode,omitempty"`
}

// WorkloadService is the app's Service.
type WorkloadService struct {
	// Type is ClusterIP when empty, else NodePort or LoadBalancer.
	Type string `json:"type,omitempty"`
	// Annotations are those of the Service.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Disabled makes no Service.
	Disabled bool `json:"disabled,omitempty"`
}

// Ingress brings requests from outside to the app's Service.
type Ingress struct {
	// ClassName is the cluster's default when empty.
	ClassName string `json:"className,omitempty"`
	// Annotations are those of the Ingress.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Hosts are the names under which the app is reachable.
	Hosts []IngressHost `json:"hosts"`
}

// IngressHost is one host name.
type IngressHost struct {
	// Host is the DNS name.
	Host string `json:"host"`
	// Path is the prefix of the paths; / when empty.
	Path string `json:"path,omitempty"`
	// Port is the name of one of the ports; the first one when empty.
	Port string `json:"port,omitempty"`
	// TLSSecret is the Secret with the host's certificate; plain http when empty.
	TLSSecret string `json:"tlsSecret,omitempty"`
}

// Autoscaling changes the number of pods with their load.
type Autoscaling struct {
	// MinReplicas is 1 when zero.
	MinReplicas int `json:"minReplicas,omitempty"`
	// MaxReplicas is the most.
	MaxReplicas int `json:"maxReplicas"`
	// CPU and Memory are the average use to aim at, in percent of the requests;
	// CPU is 80 when both are zero.
	CPU int `json:"cpu,omitempty"`
	// Memory is the average utilization to keep, in percent of the request.
	Memory int `json:"memory,omitempty"`
}

// PodDisruptionBudget bounds how many pods are away at once when nodes are
// drained. Exactly one is set: a number of pods, or a share such as 25%.
type PodDisruptionBudget struct {
	// MinAvailable is how many pods must stay: a number or a percentage.
	MinAvailable any `json:"minAvailable,omitempty"`
	// MaxUnavailable is how many may be missing: a number or a percentage.
	MaxUnavailable any `json:"maxUnavailable,omitempty"`
}

// ServiceAccount is what the pods are in the eyes of the API server.
type ServiceAccount struct {
	// Name is one that exists; none is made then.
	Name string `json:"name,omitempty"`
	// Annotations are those of the ServiceAccount.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Token mounts its token into the pods, for an app that speaks to the API
	// server.
	Token bool `json:"token,omitempty"`
}

// WorkloadSecurity changes the security context, which without it is: no root
// user, a read-only root file system, no capabilities, no way to more of them,
// and the runtime's own seccomp profile.
type WorkloadSecurity struct {
	// RunAsUser and RunAsGroup are 65532 when absent; never 0.
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// RunAsGroup is the group that the container runs as.
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
	// FSGroup owns the volumes; 65532 when absent.
	FSGroup *int64 `json:"fsGroup,omitempty"`
	// WritableRoot lets the app write to its root file system.
	WritableRoot bool `json:"writableRoot,omitempty"`
	// Capabilities are given back to the app, such as NET_BIND_SERVICE.
	Capabilities []string `json:"capabilities,omitempty"`
}
