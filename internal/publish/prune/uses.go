package prune

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/record"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Uses is what clusters name: digests, and references by tag.
type Uses struct {
	digests map[string]string // to who names it
	texts   map[string]string // of who
}

// NewUses is empty: nothing is used.
func NewUses() *Uses { return &Uses{map[string]string{}, map[string]string{}} }

// by says what uses an entry, or is empty.
func (u *Uses) by(e Entry) string {
	for _, digest := range append([]string{e.Digest}, e.parts...) {
		if who, ok := u.digests[digest]; ok {
			return who
		}
	}
	if e.Tag == "" {
		return ""
	}
	for who, text := range u.texts {
		// Name and tag may stand together, as a reference, or in fields of their own:
		// Argo CD and Flux have the folder of a chart elsewhere, if at all.
		if mentions(text, path.Base(e.Repository)) && mentions(text, e.Tag) {
			return who
		}
	}
	return ""
}

// mentions reports whether a name or tag stands in a text as a word of its own.
// The version of a chart has a plus sign where the tag has an underscore.
func mentions(text, name string) bool {
	for _, word := range []string{name, strings.ReplaceAll(name, "_", "+")} {
		for at := 0; ; at++ {
			i := strings.Index(text[at:], word)
			if i < 0 {
				break
			}
			at += i
			end := at + len(word)
			if (at == 0 || !inTag(text[at-1])) && (end == len(text) || !inTag(text[end])) {
				return true
			}
		}
	}
	return false
}

func inTag(c byte) bool {
	return strings.IndexByte(".-_+", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// The resources whose text may name an image or a chart, with what messages call
// them. Those of a tool that a cluster does not have are passed over.
var resources = []struct {
	schema.GroupVersionResource
	kind, selector string
	optional       bool
}{
	{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "pod", "", false},
	{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "Helm release", "type=helm.sh/release.v1", false},
	{schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}, "Argo CD Application", "", true},
	{schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}, "Flux helmrelease", "", true},
	{schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}, "Flux ocirepository", "", true},
}

const page = 250

// Collect adds what a cluster uses. A cluster that does not answer, or does not
// allow the lists, is an error.
func (u *Uses) Collect(ctx context.Context, conn *conn.Conn) error {
	client, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return protocol.Invalid("context %q: %w", conn.Context, err)
	}
	where := ""
	if conn.Context != "" {
		where = " of " + conn.Context
	}
	for _, r := range resources {
		err := u.list(ctx, client.Resource(r.GroupVersionResource), metav1.ListOptions{FieldSelector: r.selector, Limit: page}, r.kind, where)
		if r.optional && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err)) {
			continue
		}
		if err != nil {
			return fmt.Errorf("context %q: list %s: %w", conn.Context, r.Resource, conn.Explain(err))
		}
	}
	return nil
}

func (u *Uses) list(ctx context.Context, client dynamic.ResourceInterface, options metav1.ListOptions, kind, where string) error {
	for {
		list, err := client.List(ctx, options)
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			who := fmt.Sprintf("%s %s/%s%s", kind, item.GetNamespace(), item.GetName(), where)
			text, err := textOf(item)
			if err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
			u.add(who, text)
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

func (u *Uses) add(who, text string) {
	for _, digest := range regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindAllString(text, -1) {
		u.digests[digest] = who
	}
	u.texts[who] = text
}

// textOf is an object as JSON; the release that Helm keeps packed in a Secret is
// unpacked.
func textOf(item unstructured.Unstructured) (string, error) {
	if packed, ok, _ := unstructured.NestedString(item.Object, "data", "release"); ok {
		return release(packed)
	}
	data, err := json.Marshal(item.Object)
	return string(data), err
}

// release unpacks what Helm keeps, which is in a Secret's JSON as base64 once more.
func release(packed string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(packed)
	if err == nil {
		data, err = record.Unpack(data)
	}
	return string(data), err
}

// CollectDevices adds what the devices of the topology's targets use, which no
// cluster knows.
func (u *Uses) CollectDevices(ctx context.Context, topology protocol.Topology, apps []protocol.AppSpec) error {
	for name, target := range topology.Targets {
		if target.EdgeDevice == nil {
			continue
		}
		for _, app := range apps {
			place, err := devices.Of(topology, name, app.Name)
			if err != nil {
				return err
			}
			states, err := place.States(ctx)
			if err != nil {
				return fmt.Errorf("target %q: %w", name, err)
			}
			for _, state := range states {
				text, err := json.Marshal(state.Annotations)
				if err != nil {
					return err
				}
				u.add(fmt.Sprintf("%s, state %s", place.Whose(), state.Digest), string(text))
			}
		}
	}
	return nil
}
