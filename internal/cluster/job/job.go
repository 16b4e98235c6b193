// Package job makes the Jobs that harmony runs on a cluster itself, a container each that runs
// once, and tells what holds their pods up.
package job

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// keep is how long the cluster keeps a Job that has ended and that nobody removed.
const keep = 5 * time.Minute

// container is the name of the one container.
const container = "job"

// Place is where a Job runs, and for what.
type Place struct {
	Namespace, App string
	// Check is the name of the smoke check.
	Check string
	// Image is the reference, and PullSecrets are those that the app's pods pull it with.
	Image       string
	PullSecrets []corev1.LocalObjectReference
	// Deadline is after how long the cluster ends it.
	Deadline time.Duration
}

// New makes the Job. Its name follows from what it runs and for what: two runs of one check
// make the same one.
func New(spec protocol.JobSpec, place Place) (*batchv1.Job, error) {
	pod, err := podOf(spec, place)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	after := int32(keep / time.Second)
	made := of(place, "check", hash(place.App, place.Check, string(content)), Labels(place.App, place.Check), pod)
	made.Annotations = map[string]string{marks.CheckName: place.Check}
	made.Spec.TTLSecondsAfterFinished = &after
	return made, nil
}

// of makes a Job of a pod that runs once.
func of(place Place, kind, hash string, labels map[string]string, pod corev1.PodSpec) *batchv1.Job {
	seconds, retries := int64(place.Deadline/time.Second)+1, int32(0)
	return &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{
			Name: strings.TrimRight(place.App[:min(len(place.App), 40)], "-") + "-" + kind + "-" + hash, Namespace: place.Namespace, Labels: labels,
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: &retries, ActiveDeadlineSeconds: &seconds,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}

// NewMigration makes the Job of a migration of a version. Its name follows from the two and
// from what it runs. It is suspended, and the cluster keeps it when it has ended.
func NewMigration(m protocol.Migration, version string, place Place) (*batchv1.Job, error) {
	pod, err := podOf(m.Job, place)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(m.Job)
	if err != nil {
		return nil, err
	}
	labels := MigrationLabels(place.App)
	suspended := true
	made := of(place, "migrate", hash(place.App, version, m.Name, place.Image, string(content)), labels, pod)
	made.Annotations = map[string]string{marks.MigrationName: m.Name, marks.Version: version, marks.Image: place.Image}
	made.Spec.Suspend = &suspended
	return made, nil
}

// MigrationLabels are those of the Jobs of an app's migrations, and of their pods.
func MigrationLabels(app string) map[string]string {
	return map[string]string{marks.ManagedBy: marks.Harmony, marks.App: app, marks.Migration: "true"}
}

// Labels are those of all Jobs of a check, and of their pods. None of them is one by which an
// app's Services and workloads select pods.
func Labels(app, check string) map[string]string {
	return map[string]string{marks.ManagedBy: marks.Harmony, marks.App: app, marks.Check: hash(app, check)}
}

func hash(parts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q", parts)))[:10]
}

func podOf(spec protocol.JobSpec, place Place) (corev1.PodSpec, error) {
	no, yes := false, true
	token := spec.ServiceAccountName != ""
	resources, err := resourcesOf(spec.Resources)
	c := corev1.Container{
		Name: container, Image: place.Image, Command: spec.Command, Args: spec.Args, Resources: resources,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, RunAsUser: spec.RunAsUser,
		},
	}
	if spec.RunAsUser != nil {
		c.SecurityContext.RunAsNonRoot = &yes
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
		// A $ stands for itself, as in every other place of harmony.yaml.
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: strings.ReplaceAll(spec.Env[name], "$", "$$")})
	}
	for _, name := range slices.Sorted(maps.Keys(spec.EnvRefs)) {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: sourceOf(spec.EnvRefs[name])})
	}
	for _, from := range spec.EnvFrom {
		c.EnvFrom = append(c.EnvFrom, fromOf(from))
	}
	return corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: spec.ServiceAccountName, AutomountServiceAccountToken: &token,
		ImagePullSecrets: place.PullSecrets, Containers: []corev1.Container{c},
		SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
	}, err
}

func sourceOf(ref protocol.EnvRef) *corev1.EnvVarSource {
	if ref.Secret != "" {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: ref.Secret}, Key: ref.Key, Optional: &ref.Optional}}
	}
	return &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: ref.ConfigMap}, Key: ref.Key, Optional: &ref.Optional}}
}

func fromOf(from protocol.EnvFrom) corev1.EnvFromSource {
	source := corev1.EnvFromSource{Prefix: from.Prefix}
	if from.Secret != "" {
		source.SecretRef = &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: from.Secret}, Optional: &from.Optional}
	} else {
		source.ConfigMapRef = &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: from.ConfigMap}, Optional: &from.Optional}
	}
	return source
}

// leastRequests are those of a container that does not say otherwise.
var leastRequests = map[string]string{"cpu": "50m", "memory": "64Mi"}

func resourcesOf(r *protocol.Resources) (corev1.ResourceRequirements, error) {
	if r == nil {
		r = &protocol.Resources{}
	}
	requests := maps.Clone(leastRequests)
	maps.Copy(requests, r.Limits)
	maps.Copy(requests, r.Requests)
	asked, err := quantities(requests)
	if err != nil || len(r.Limits) == 0 {
		return corev1.ResourceRequirements{Requests: asked}, err
	}
	limits, err := quantities(r.Limits)
	return corev1.ResourceRequirements{Requests: asked, Limits: limits}, err
}

func quantities(values map[string]string) (corev1.ResourceList, error) {
	list := corev1.ResourceList{}
	for name, value := range values {
		quantity, err := resource.ParseQuantity(value)
		if err != nil {
			return nil, protocol.Invalid("resources: %s %q: %w", name, value, err)
		}
		list[corev1.ResourceName(name)] = quantity
	}
	return list, nil
}
