package main

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/appkit/chart"
	"github.com/nationtech/harmony/pkg/protocol"
)

// operatorChart is what charts/operator is, made of typed objects when the chart
// is packaged: the compiler knows their fields, and functions take the place of
// templates.
func operatorChart(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (appkit.Chart, error) {
	deployment := operatorDeployment(app, image)
	const env = "spec.template.spec.containers.0.env."
	return chart.Chart{
		Description: "The registry of the fleet's devices",
		Objects:     []runtime.Object{deployment, operatorService(app)},
		Values: []chart.Value{
			{Of: deployment, Field: "spec.replicas", Name: "replicas"},
			{Of: deployment, Field: "spec.template.spec.containers.0.resources", Name: "resources"},
			{Of: deployment, Field: env + "1.value", Name: "logLevel"},
			{Of: deployment, Field: env + "2.value", Name: "offlineAfter"},
			{Of: deployment, Field: env + "3.value", Name: "forgetAfter"},
		},
	}, nil
}

// selector selects the pods: it must never change, so no version is in it.
func selector(app protocol.AppSpec) map[string]string {
	return map[string]string{"app.kubernetes.io/name": app.Name, "app.kubernetes.io/instance": app.Name}
}

func meta(app protocol.AppSpec) metav1.ObjectMeta {
	labels := selector(app)
	labels["app.kubernetes.io/version"] = strings.ReplaceAll(app.Version, "+", "_")
	labels["app.kubernetes.io/part-of"] = "fleet"
	return metav1.ObjectMeta{Name: app.Name, Labels: labels}
}

func operatorService(app protocol.AppSpec) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(app), Spec: corev1.ServiceSpec{
		Selector: selector(app),
		Ports:    []corev1.ServicePort{{Name: "http", Port: 8080, TargetPort: intstr.FromString("http")}},
	}}
}

func operatorDeployment(app protocol.AppSpec, image protocol.ImageRef) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: meta(app), Spec: appsv1.DeploymentSpec{
		Replicas:             new(int32(1)),
		RevisionHistoryLimit: new(int32(3)),
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0)),
		}},
		Selector: &metav1.LabelSelector{MatchLabels: selector(app)},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: selector(app)},
			Spec: corev1.PodSpec{
				AutomountServiceAccountToken:  new(false),
				EnableServiceLinks:            new(true), // how it finds fleet-callout in a cluster without DNS
				TerminationGracePeriodSeconds: new(int64(5)),
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{operatorContainer(app, image)},
			},
		},
	}}
}

func operatorContainer(app protocol.AppSpec, image protocol.ImageRef) corev1.Container {
	return corev1.Container{
		Name: "operator", Image: image.String(),
		Env: []corev1.EnvVar{
			{Name: "APP_VERSION", Value: app.Version},
			{Name: "LOG_LEVEL", Value: "info"},
			{Name: "OFFLINE_AFTER", Value: "30s"},
			{Name: "FORGET_AFTER", Value: "10m"},
		},
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: probe("/readyz", 1),
		LivenessProbe:  probe("/healthz", 10),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("10m"), "memory": resource.MustParse("16Mi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("64Mi")},
		},
	}
}

func probe(path string, period int32) *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: 2, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")},
	}}
}
