package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// labelApp is on the Applications that harmony makes.
const labelApp = "harmony.nationtech.io/app"

// annotationImage and annotationVersion are on the objects that harmony makes.
const (
	annotationImage   = "harmony.nationtech.io/image"
	annotationVersion = "harmony.nationtech.io/version"
)

// Controllers lists the Flux HelmReleases and the Argo CD Applications through
// which an app is delivered to a namespace. A cluster without them has none.
func Controllers(ctx context.Context, client dynamic.Interface, namespace, app string) ([]Entry, error) {
	releases, fluxErr := list(ctx, client, schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"})
	applications, argoErr := list(ctx, client, schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"})
	if err := errors.Join(fluxErr, argoErr); err != nil {
		return nil, err
	}
	var found []Entry
	for _, r := range releases {
		if e, ok := fluxEntry(r, namespace, app); ok {
			found = append(found, e)
		}
	}
	for _, a := range applications {
		if e, ok := argoEntry(a, namespace, app); ok {
			found = append(found, e)
		}
	}
	return found, nil
}

// list reads all objects of a kind; none where the kind is not served, or may not
// be read.
func list(ctx context.Context, client dynamic.Interface, of schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	all, err := client.Resource(of).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", of.Resource, err)
	}
	return all.Items, nil
}

func text(o unstructured.Unstructured, fields ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, fields...)
	return s
}

// fluxEntry is the entry of a HelmRelease that is the app's in the namespace.
func fluxEntry(r unstructured.Unstructured, namespace, app string) (Entry, bool) {
	target := text(r, "spec", "targetNamespace")
	if target == "" {
		target = r.GetNamespace()
	}
	name := text(r, "spec", "releaseName")
	if name == "" {
		name = r.GetName()
	}
	if target != namespace || name != app && r.GetName() != app && r.GetLabels()[labelApp] != app {
		return Entry{}, false
	}
	e := Entry{Adapter: "flux", Object: "HelmRelease " + r.GetNamespace() + "/" + r.GetName()}
	e.annotated(r)
	e.DriftIgnore = driftIgnore(r)
	history, _, _ := unstructured.NestedSlice(r.Object, "status", "history")
	if len(history) > 0 {
		last, _ := history[0].(map[string]any)
		e.fluxHistory(last)
	}
	suspended, _, _ := unstructured.NestedBool(r.Object, "spec", "suspend")
	ready := condition(r, "Ready")
	seen, _, _ := unstructured.NestedInt64(r.Object, "status", "observedGeneration")
	switch {
	case suspended:
		e.State = "suspended"
	case ready == nil || seen != r.GetGeneration():
		e.State = "reconciling"
	default:
		e.State, _ = ready["reason"].(string)
	}
	e.Healthy = ready["status"] == "True" && seen == r.GetGeneration()
	if message, _ := ready["message"].(string); !e.Healthy {
		e.Message = message
	}
	return e, true
}

// annotated takes what harmony wrote onto an object: what it is told to run.
func (e *Entry) annotated(o unstructured.Unstructured) {
	notes := o.GetAnnotations()
	e.Reference, e.Version = notes[annotationImage], notes[annotationVersion]
	e.Image = e.Reference[strings.LastIndex(e.Reference, "@")+1:]
}

// driftIgnore are the fields of a HelmRelease's objects that others may change.
// What is ignored of some objects only is not told.
func driftIgnore(r unstructured.Unstructured) []string {
	rules, _, _ := unstructured.NestedSlice(r.Object, "spec", "driftDetection", "ignore")
	var all []string
	for _, rule := range rules {
		rule, _ := rule.(map[string]any)
		if rule["target"] != nil {
			continue
		}
		paths, _, _ := unstructured.NestedStringSlice(rule, "paths")
		all = append(all, paths...)
	}
	return all
}

func (e *Entry) fluxHistory(last map[string]any) {
	if digest, _ := last["ociDigest"].(string); digest != "" {
		e.Chart = digest
	}
	if version, _ := last["chartVersion"].(string); e.Version == "" {
		// Flux adds the beginning of the digest to the chart's version.
		e.Version, _, _ = strings.Cut(version, "+")
	}
	if revision, ok := last["version"].(int64); ok {
		e.Revision = int(revision)
	}
	deployed, _ := last["lastDeployed"].(string)
	e.Since = timeOf(deployed)
}

// argoEntry is the entry of an Application that is the app's in the namespace.
func argoEntry(a unstructured.Unstructured, namespace, app string) (Entry, bool) {
	if text(a, "spec", "destination", "namespace") != namespace || a.GetName() != app && a.GetLabels()[labelApp] != app {
		return Entry{}, false
	}
	return Application(a), true
}

// Application is the entry of an Argo CD Application.
func Application(a unstructured.Unstructured) Entry {
	e := Entry{Adapter: "argocd", Object: "Application " + a.GetNamespace() + "/" + a.GetName()}
	e.annotated(a)
	if revision := text(a, "status", "sync", "revision"); strings.HasPrefix(revision, "sha256:") {
		e.Chart = revision
	}
	health := text(a, "status", "health", "status")
	e.State = text(a, "status", "sync", "status")
	if e.State == "" {
		e.State = Unknown
	}
	e.Healthy = health == "Healthy" && e.State == "Synced"
	e.Since = timeOf(text(a, "status", "operationState", "finishedAt"))
	if !e.Healthy {
		e.Message = strings.TrimSpace(health + " " + text(a, "status", "operationState", "message"))
	}
	if e.State == "OutOfSync" {
		e.Drift = outOfSync(a)
	}
	return e
}

func outOfSync(a unstructured.Unstructured) []string {
	resources, _, _ := unstructured.NestedSlice(a.Object, "status", "resources")
	var names []string
	for _, r := range resources {
		if r, _ := r.(map[string]any); r["status"] == "OutOfSync" {
			names = append(names, fmt.Sprintf("%v %v is out of sync", r["kind"], r["name"]))
		}
	}
	return names
}

func condition(o unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c["type"] == kind {
			return c
		}
	}
	return nil
}

func timeOf(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}
