package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

var namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")

// refusal is what the API server has for certain against an object.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// refused says in one line what the server has against an object, in which field
// and from which template, and what to do. What is bad input for certain has the
// status protocol.ExitInvalid.
func (p Preview) refused(of difference.Object, wanted *unstructured.Unstructured, err error) error {
	where := of.String()
	if p.Source != nil {
		if file := p.Source(wanted); file != "" {
			where += " (" + file + ")"
		}
	}
	if !isFinal(err) {
		return fmt.Errorf("%s: %w", where, err)
	}
	text := reason(err)
	return refusal{protocol.Invalid("%s: the API server would refuse it: %s", where, text).WithHint("%s", advice(of, text))}
}

// isFinal reports an answer that no object which is applied before can change.
func isFinal(err error) bool {
	text := err.Error()
	var mismatch *json.UnmarshalTypeError
	switch {
	case strings.Contains(text, "dry run") || strings.Contains(text, "dryRun"):
		return false // a webhook or an API that cannot be asked
	case errors.As(err, &mismatch) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return true
	case !apierrors.IsForbidden(err):
		return false
	}
	for _, word := range []string{"exceeded quota", "denied", "violates PodSecurity"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// wrongType finds a number or a boolean where Kubernetes has a string, and the
// like: the server would answer with the whole object and without the field.
func wrongType(o *unstructured.Unstructured) error {
	typed, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		return nil //nolint:nilerr // a custom resource
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(data, typed); errors.As(err, &mismatch) {
		return err
	}
	return nil
}

// shown bounds what is told of a refusal, in bytes and in fields.
const (
	shown  = 300
	causes = 3
)

// reason is what the server says, without the object itself.
func reason(err error) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Sprintf("%s must be a %s, not a %s", mismatch.Field, mismatch.Type, mismatch.Value)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return brief(err.Error())
	}
	var said []string
	all := status.Status().Details.Causes
	for _, c := range all[:min(len(all), causes)] {
		text := brief(withoutValue(c))
		if c.Field != "" && c.Field != "<nil>" {
			text = c.Field + ": " + text
		}
		said = append(said, text)
	}
	if more := len(all) - causes; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, "; ")
}

// withoutValue is the message of a cause without the value that it is about, which
// may be the whole object.
func withoutValue(c metav1.StatusCause) string {
	value, ok := strings.CutPrefix(c.Message, "Invalid value: ")
	if !ok {
		return c.Message
	}
	if quoted, err := strconv.QuotedPrefix(value); err == nil {
		value = strings.TrimPrefix(value[len(quoted):], ": ")
		if len(quoted) < shown/3 {
			return quoted + ": " + value
		}
		return value
	}
	if i := strings.LastIndex(value, "}: "); i >= 0 {
		return value[i+len("}: "):]
	}
	return value
}

func brief(text string) string {
	text = rollout.Clean(strings.Join(strings.Fields(text), " "))
	if len(text) > shown {
		text = strings.ToValidUTF8(text[:shown], "") + "…"
	}
	return text
}

// advice says what to do about a refusal.
func advice(of difference.Object, text string) string {
	kind := strings.ToLower(of.Kind)
	at := ""
	if of.Namespace != "" {
		at = " -n " + of.Namespace
	}
	remove := fmt.Sprintf("kubectl delete%s %s %s", at, kind, of.Name)
	switch {
	case strings.Contains(text, "must be a string"):
		return "quote it in the chart's template or in the values"
	case strings.Contains(text, "exceeded quota"):
		return "ask for less, or have the quota raised: kubectl describe quota" + at
	case strings.Contains(text, "denied") || strings.Contains(text, "violates"):
		return "change the object as the admission policy asks"
	case strings.Contains(text, "immutable") && kind == "job":
		return "make the Job a hook, put the version into its name, or delete it first: " + remove
	case strings.Contains(text, "immutable") || strings.Contains(text, "updates to "):
		return "leave the field as it is, or delete the object first: " + remove + " --cascade=orphan"
	}
	return "change it in the chart's template or in the values"
}
