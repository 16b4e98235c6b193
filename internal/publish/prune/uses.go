package prune

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
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
		for rest := text; ; {
			i := strings.Index(rest, word)
			if i < 0 {
				break
			}
			before, after := i == 0 || !inTag(rest[i-1]), i+len(word) == len(rest) || !inTag(rest[i+len(word)])
			if before && after {
				return true
			}
			rest = rest[i+1:]
		}
	}
	return false
}

func inTag(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c == '+' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// The resources whose text may name an image or a chart. Those of a tool that a
// cluster does not have are passed over.
var resources = []struct {
	schema.GroupVersionResource
	selector string
	optional bool
}{
	{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "", false},
	{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "type=helm.sh/release.v1", false},
	{schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}, "", true},
	{schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}, "", true},
	{schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}, "", true},
}

// page is how many objects are asked for at once.
const page = 250

// Collect adds what a cluster uses. A cluster that does not answer, or does not
// allow to look, is an error.
func (u *Uses) Collect(ctx context.Context, conn *conn.Conn) error {
	client, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return protocol.Invalid("context %q: %w", conn.Context, err)
	}
	for _, r := range resources {
		err := u.list(ctx, client, conn.Context, r.GroupVersionResource, r.selector)
		if r.optional && (apierrors.IsNotFound(err) || meta.IsNoMatchError(err)) {
			continue
		}
		if err != nil {
			return fmt.Errorf("context %q: list %s: %w", conn.Context, r.Resource, conn.Explain(err))
		}
	}
	return nil
}

func (u *Uses) list(ctx context.Context, client dynamic.Interface, where string, resource schema.GroupVersionResource, selector string) error {
	options := metav1.ListOptions{FieldSelector: selector, Limit: page}
	for {
		list, err := client.Resource(resource).List(ctx, options)
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			who := fmt.Sprintf("%s %s/%s", kindOf(resource), item.GetNamespace(), item.GetName())
			if where != "" {
				who += " of " + where
			}
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

func kindOf(r schema.GroupVersionResource) string {
	switch r.Resource {
	case "secrets":
		return "Helm release"
	case "applications":
		return "Argo CD Application"
	case "pods":
		return "pod"
	}
	return "Flux " + strings.TrimSuffix(strings.TrimSuffix(r.Resource, "s"), "ie")
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

// maxRelease bounds an unpacked release; Helm's own limit is that of a Secret.
const maxRelease = 64 << 20

// release unpacks base64 of base64 of gzip of JSON, which is how a Secret holds
// what Helm's storage writes.
func release(packed string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return "", fmt.Errorf("not a Helm release: %w", err)
	}
	if data, err = base64.StdEncoding.DecodeString(string(data)); err != nil {
		return "", fmt.Errorf("not a Helm release: %w", err)
	}
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return string(data), nil
	}
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return "", fmt.Errorf("not a Helm release: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxRelease))
	if err != nil {
		return "", fmt.Errorf("not a Helm release: %w", err)
	}
	return string(text), nil
}
