package protocol

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// FeatureChecks is that of a smoke stage which runs an executable harmony-check-NAME for a
// kind of check that is not built in. An app with one is not given to another.
const FeatureChecks = "checks"

// CheckKinds are the kinds of smoke checks that are built in.
func CheckKinds() []string {
	return []string{"rollout", "http", "tcp", "grpc", "resource", "logs", "prometheus", "exec", "job", "helmTest"}
}

// Kinds are the kinds that the check has: one in a valid check. Those that are not built in
// come last, in the order of their names.
func (c SmokeCheck) Kinds() []string {
	set := []bool{c.Rollout != nil, c.HTTP != nil, c.TCP != nil, c.GRPC != nil, c.Resource != nil, c.Logs != nil, c.Prometheus != nil, c.Exec != nil, c.Job != nil, c.HelmTest != nil}
	var kinds []string
	for i, kind := range CheckKinds() {
		if set[i] {
			kinds = append(kinds, kind)
		}
	}
	return append(kinds, slices.Sorted(maps.Keys(c.Other))...)
}

// TakesField reports whether a field that the type does not have can be a kind in Other: its
// name can be that of an executable, and is not one that third parties may give to any field.
func (SmokeCheck) TakesField(name string) bool {
	return labelPattern.MatchString(name) && !strings.HasPrefix(name, "x-")
}

// CheckSmoke fails, with status [ExitUnsupported], for an app whose smoke checks need what the
// topology's deliverer does not leave on a cluster.
func (t Topology) CheckSmoke(app AppSpec) error {
	if t.ContinuousDelivery == nil || t.ContinuousDelivery.Adapter != "argocd" {
		return nil
	}
	for _, check := range app.Smoke {
		if check.HelmTest != nil {
			return Unsupported("app %q: smoke check %q: helmTest needs a Helm release, and Argo CD, which topology %q delivers with, keeps none", app.Name, check.Name, t.Name).
				WithHint("run the test as a job check, or deliver with helm or flux")
		}
	}
	return nil
}

// checkChecks is the part of [PluginInfo.CheckApp] about smoke checks.
func (i PluginInfo) checkChecks(app AppSpec) error {
	if i.Stage != "smoke" || slices.Contains(i.Features, FeatureChecks) {
		return nil
	}
	for _, check := range app.Smoke {
		if len(check.Other) > 0 {
			return Unsupported("app %q: smoke check %q is of kind %s, and plugin harmony-%s %s runs no harmony-check-NAME",
				app.Name, check.Name, slices.Sorted(maps.Keys(check.Other))[0], i.Name, i.Version).
				WithHint("the plugin's describe does not list the feature %s", FeatureChecks)
		}
	}
	return nil
}

// plainCheck is a SmokeCheck without its kinds in Other.
type plainCheck SmokeCheck

// MarshalJSON implements [json.Marshaler].
func (c SmokeCheck) MarshalJSON() ([]byte, error) {
	check, err := marshalPlain(plainCheck(c))
	if err != nil || len(c.Other) == 0 {
		return check, err
	}
	other, err := marshalPlain(c.Other)
	if err != nil {
		return nil, err
	}
	return slices.Concat(check[:len(check)-1], []byte(","), other[1:]), nil
}

// marshalPlain leaves <, > and & to whoever encodes the document.
func marshalPlain(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// UnmarshalJSON implements [json.Unmarshaler]. An unknown field that is no object is left
// out: it is one of a newer version.
func (c *SmokeCheck) UnmarshalJSON(text []byte) error {
	if err := unmarshal(text, (*plainCheck)(c)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	known := fieldsOf(reflect.TypeFor[plainCheck]())
	c.Other = nil
	for name, value := range fields {
		if _, is := known[name]; is || !c.TakesField(name) || value[0] != '{' {
			continue
		}
		var own map[string]any
		if err := json.Unmarshal(value, &own); err != nil {
			return err
		}
		if c.Other == nil {
			c.Other = map[string]map[string]any{}
		}
		c.Other[name] = own
	}
	return nil
}

// CheckRequest is what an executable harmony-check-NAME gets on its standard input, on one
// line. It contains no secret.
type CheckRequest struct {
	// Metadata is the app and the version that is checked.
	Metadata `json:"-"`
	// Check is the name of the check, and Type its kind: NAME.
	Check string `json:"check"`
	// Type is the kind of the check.
	Type string `json:"type"`
	// Target is where the app was deployed to.
	Target string `json:"target"`
	// Cluster is the cluster of a multiCluster target that this run is about.
	Cluster string `json:"cluster,omitempty"`
	// Context is the kubeconfig context, where one was named; the current one when empty.
	Context string `json:"context,omitempty"`
	// Namespace is the one that the app runs in; empty for edge devices.
	Namespace string `json:"namespace,omitempty"`
	// Image is the digest that the deploy proved to run. It is empty when the checks are run
	// without a deploy before them.
	Image string `json:"image,omitempty"`
	// Images are the digests of the app's further images, by their names.
	Images map[string]string `json:"images,omitempty"`
	// Attempt counts the runs of this check, from 1.
	Attempt int `json:"attempt"`
	// Timeout is what is left of the check's time. After it the program is ended.
	Timeout Duration `json:"timeout"`
	// Settings are the check's own fields.
	Settings map[string]any `json:"settings"`
}

// DocumentKind implements [Spec].
func (CheckRequest) DocumentKind() Kind { return KindCheckRequest }

// CheckAnswer is what an executable harmony-check-NAME may write to its standard output.
// Without one its exit status alone tells: 0 passes.
type CheckAnswer struct {
	// Metadata is that of the request.
	Metadata `json:"-"`
	// Passed says that the check holds. The exit status has to be 0 too.
	Passed bool `json:"passed"`
	// Message says what was seen, and what was expected.
	Message string `json:"message,omitempty"`
	// Final says that no later attempt can pass: the check ends at once.
	Final bool `json:"final,omitempty"`
}

// DocumentKind implements [Spec].
func (CheckAnswer) DocumentKind() Kind { return KindCheckAnswer }
