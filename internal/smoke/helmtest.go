package smoke

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/internal/cluster/record"
	"github.com/nationtech/harmony/pkg/protocol"
)

// hook is a hook as Helm keeps it in a release.
type hook struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Path     string   `json:"path"`
	Manifest string   `json:"manifest"`
	Events   []string `json:"events"`
	Weight   int      `json:"weight"`
	Policies []string `json:"delete_policies"`
}

// runs reports a hook that does something and ends.
func (h hook) runs() bool { return h.Kind == "Pod" || h.Kind == "Job" }

// When a hook is deleted.
const (
	beforeCreation = "before-hook-creation"
	onSuccess      = "hook-succeeded"
	onFailure      = "hook-failed"
)

// helmTestProbe runs the tests of the release in each attempt.
type helmTestProbe struct {
	check   protocol.HelmTestCheck
	app     string
	cluster *cluster
}

func (p helmTestProbe) attempt(ctx context.Context) (string, error) {
	hooks, err := p.tests(ctx)
	if err != nil {
		return "", err
	}
	var made []testObject
	var passed []string
	for _, h := range hooks {
		object, err := p.run(ctx, h)
		if err != nil {
			return "", errors.Join(err, p.tidy(ctx, made))
		}
		if made = append(made, object); h.runs() {
			passed = append(passed, h.Name)
		}
	}
	return "passed: " + strings.Join(passed, ", "), p.tidy(ctx, made)
}

// tidy deletes what its chart wants deleted once it has succeeded.
func (p helmTestProbe) tidy(ctx context.Context, made []testObject) error {
	var errs []error
	for _, object := range made {
		if slices.Contains(object.hook.Policies, onSuccess) {
			errs = append(errs, p.remove(ctx, object))
		}
	}
	return errors.Join(errs...)
}

// tests are the hooks to run, in order.
func (p helmTestProbe) tests(ctx context.Context) ([]hook, error) {
	all, err := p.hooks(ctx)
	if err != nil {
		return nil, err
	}
	tests := slices.DeleteFunc(all, func(h hook) bool {
		test := slices.Contains(h.Events, "test") || slices.Contains(h.Events, "test-success")
		return !test || h.runs() && len(p.check.Names) > 0 && !slices.Contains(p.check.Names, h.Name)
	})
	slices.SortStableFunc(tests, func(a, b hook) int { return cmp.Compare(a.Weight, b.Weight) })
	for _, name := range p.check.Names {
		if !slices.ContainsFunc(tests, func(h hook) bool { return h.Name == name && h.runs() }) {
			return nil, decided{fmt.Errorf("the chart of release %s has no test %s", p.app, name)}
		}
	}
	if !slices.ContainsFunc(tests, hook.runs) {
		return nil, decided{fmt.Errorf("the chart of release %s has no tests: no Pod or Job with the annotation helm.sh/hook: test", p.app)}
	}
	return tests, nil
}

// hooks are those of the deployed revision of the release.
func (p helmTestProbe) hooks(ctx context.Context) ([]hook, error) {
	var found corev1.SecretList
	query := url.Values{"labelSelector": {"owner=helm,status=deployed,name=" + p.app}}
	if err := p.cluster.get(ctx, "api/v1", "secrets", query, &found); err != nil {
		return nil, err
	}
	if len(found.Items) == 0 {
		return nil, fmt.Errorf("no deployed Helm release %s in namespace %s", p.app, p.cluster.Namespace)
	}
	last := slices.MaxFunc(found.Items, func(a, b corev1.Secret) int { return cmp.Compare(revision(a), revision(b)) })
	text, err := record.Unpack(last.Data[record.Key])
	var release struct {
		Hooks []hook `json:"hooks"`
	}
	if err == nil {
		err = json.Unmarshal(text, &release)
	}
	if err != nil {
		return nil, fmt.Errorf("the Helm release in Secret %s: %w", last.Name, err)
	}
	return release.Hooks, nil
}

func revision(secret corev1.Secret) int {
	n, _ := strconv.Atoi(secret.Labels["version"]) // Helm writes a number
	return n
}

// testObject is an object of a test.
type testObject struct {
	hook hook
	// path is that of the API server, with the name at its end.
	path    string
	cluster *cluster // in the object's namespace
	uid     types.UID
	content map[string]any
}

// read reads the object of a hook.
func (p helmTestProbe) read(ctx context.Context, h hook) (testObject, error) {
	object := testObject{hook: h}
	text, err := yaml.ToJSON([]byte(h.Manifest))
	if err == nil {
		err = json.Unmarshal(text, &object.content)
	}
	metadata, _ := object.content["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if err == nil && name == "" {
		err = errors.New("it has no metadata.name")
	}
	if err != nil {
		return object, decided{fmt.Errorf("%s of release %s: %w", h.Path, p.app, err)}
	}
	apiVersion, _ := object.content["apiVersion"].(string)
	kind, _ := object.content["kind"].(string)
	namespace, _ := metadata["namespace"].(string)
	object.cluster = p.cluster.in(namespace)
	folder, err := object.cluster.address(ctx, apiVersion, kind)
	object.path = folder + "/" + name
	return object, err
}

// run makes the object of a hook, and waits until a Pod or a Job has ended.
func (p helmTestProbe) run(ctx context.Context, h hook) (testObject, error) {
	if len(h.Policies) == 0 {
		h.Policies = []string{beforeCreation}
	}
	object, err := p.read(ctx, h)
	if err == nil && slices.Contains(h.Policies, beforeCreation) {
		err = p.replace(ctx, object)
	}
	if err != nil {
		return object, err
	}
	folder := object.path[:strings.LastIndexByte(object.path, '/')]
	body, err := p.cluster.send(ctx, http.MethodPost, folder, nil, object.content)
	if err != nil {
		return object, fmt.Errorf("test %s: %w", h.Name, refused(err))
	}
	if object.uid, err = uidOf(body); err != nil || !h.runs() {
		return object, err
	}
	failed := p.follow(ctx, object)
	switch {
	case failed == nil:
		return object, nil
	case slices.Contains(h.Policies, onFailure), ctx.Err() != nil, errors.As(failed, new(decided)): // else it would go on
		return object, errors.Join(failed, p.remove(ctx, object))
	}
	return object, failed
}

func uidOf(body []byte) (types.UID, error) {
	var object struct {
		Metadata struct {
			UID types.UID `json:"uid"`
		} `json:"metadata"`
	}
	err := json.Unmarshal(body, &object)
	return object.Metadata.UID, err
}

// replace deletes the object that an earlier run left, and waits until it is gone.
func (p helmTestProbe) replace(ctx context.Context, object testObject) error {
	for {
		body, err := p.cluster.read(ctx, object.path, nil)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if object.uid, err = uidOf(body); err != nil {
			return err
		}
		if err := p.remove(ctx, object); err != nil {
			return err
		}
		if !pause(ctx, podLook) {
			return fmt.Errorf("test %s of an earlier run is still being deleted", object.hook.Name)
		}
	}
}

func (p helmTestProbe) remove(ctx context.Context, object testObject) error {
	if err := p.cluster.remove(ctx, object.path, object.uid); err != nil {
		return fmt.Errorf("test %s: %w", object.hook.Name, err)
	}
	return nil
}

// follow waits for the end of a Pod or a Job.
func (p helmTestProbe) follow(ctx context.Context, object testObject) error {
	name := object.hook.Name
	var pods []corev1.Pod
	var troubles job.Trouble
	for {
		now, ended, err := p.look(ctx, object)
		switch {
		case cancelled(ctx):
			return ctx.Err()
		case ctx.Err() != nil:
			return unfinished{fmt.Errorf("test %s: %s: %s", name, job.Exits(pods, "not ended in time"), object.cluster.said(ctx, pods))}
		case apierrors.IsNotFound(err):
			return fmt.Errorf("test %s was deleted by somebody else", name)
		case err != nil:
			return err
		}
		pods = now
		switch {
		case ended == "succeeded":
			return nil
		case ended != "":
			return fmt.Errorf("test %s failed: %s: %s", name, job.Exits(pods, ended), object.cluster.said(ctx, pods))
		}
		if why := troubles.Lasting(job.AnyHeld(pods)); why != "" {
			return decided{fmt.Errorf("test %s does not start: %s", name, why)}
		}
		sleep(ctx, podLook)
	}
}

// look reads the pods of a Pod or a Job, and how it has ended: "succeeded", or how it failed.
func (p helmTestProbe) look(ctx context.Context, object testObject) (pods []corev1.Pod, ended string, err error) {
	body, err := p.cluster.read(ctx, object.path, nil)
	if err != nil {
		return nil, "", err
	}
	if uid, err := uidOf(body); err != nil || uid != object.uid {
		return nil, "", errors.Join(err, fmt.Errorf("test %s was replaced by another run", object.hook.Name))
	}
	if object.hook.Kind == "Job" {
		var j batchv1.Job
		if err := json.Unmarshal(body, &j); err != nil {
			return nil, "", err
		}
		if over, succeeded, message := job.Ended(j); succeeded {
			ended = "succeeded"
		} else if over {
			ended = message
		}
		pods, err = object.cluster.podsOf(ctx, j.Spec.Selector)
		return pods, ended, err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(body, &pod); err != nil {
		return nil, "", err
	}
	ended = map[corev1.PodPhase]string{
		corev1.PodSucceeded: "succeeded", corev1.PodFailed: cmp.Or(pod.Status.Reason, "the pod has failed"),
	}[pod.Status.Phase]
	return []corev1.Pod{pod}, ended, nil
}
