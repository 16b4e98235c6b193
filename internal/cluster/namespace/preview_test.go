package namespace

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

var (
	noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cart = Preview{Name: "web-cart", Target: "preview", Of: protocol.Preview{Project: "shop/web", Branch: "cart"}, App: "web", TTL: time.Hour}
)

// made is the namespace of a preview as it is after a release at noon.
func made(change func(*corev1.Namespace)) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cart.Name, UID: "1", ResourceVersion: "7"}}
	cart.mark(n, noon)
	if change != nil {
		change(n)
	}
	return n
}

func nobody(string, time.Time) {}

func on(t *testing.T, client *fake.Clientset) *corev1.Namespace {
	t.Helper()
	n, err := client.CoreV1().Namespaces().Get(t.Context(), cart.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRenew(t *testing.T) {
	client := fake.NewClientset()
	for i, at := range []time.Time{noon, noon.Add(30 * time.Minute), noon.Add(9 * time.Hour)} {
		if err := cart.Renew(t.Context(), client, at, nobody); err != nil {
			t.Fatal(err)
		}
		n := on(t, client)
		if want := at.Add(time.Hour).Format(time.RFC3339); n.Annotations[marks.Expires] != want {
			t.Errorf("%d: expires %s, want %s", i, n.Annotations[marks.Expires], want)
		}
		if n.Labels[marks.ManagedBy] != "harmony" || n.Labels[marks.Preview] != "preview" || Of(n) != cart.Of || !slices.Equal(Apps(n), []string{"web"}) {
			t.Errorf("%d: marks %v %v", i, n.Labels, n.Annotations)
		}
	}
	leases, err := client.CoordinationV1().Leases(cart.Name).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 0 {
		t.Errorf("leases %v, %v", leases.Items, err)
	}
}

func TestRenewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		there *corev1.Namespace
		says  string
	}{
		"somebody's":        {made(func(n *corev1.Namespace) { n.Labels = nil }), "is no preview of target preview that harmony made"},
		"of another target": {made(func(n *corev1.Namespace) { n.Labels[marks.Preview] = "demo" }), "is no preview of target preview"},
		"of another branch": {made(func(n *corev1.Namespace) { n.Annotations[marks.Branch] = "pay" }), "is the preview of branch pay of shop/web"},
		"of another app":    {made(func(n *corev1.Namespace) { n.Annotations[marks.PreviewApp+"api"] = "" }), "is the preview of app api"},
	} {
		client := fake.NewClientset(c.there)
		for _, err := range []error{cart.Renew(t.Context(), client, noon, nobody), cart.Checked(t.Context(), client)} {
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", name, err, c.says)
			}
		}
		if n := on(t, client); n.Annotations[marks.Expires] != c.there.Annotations[marks.Expires] {
			t.Errorf("%s: it was renewed", name)
		}
	}
	shared := cart
	shared.Shared, shared.App = true, "api"
	client := fake.NewClientset(made(nil))
	if err := shared.Renew(t.Context(), client, noon, nobody); err != nil || !slices.Equal(Apps(on(t, client)), []string{"api", "web"}) {
		t.Errorf("a second app of a shared preview: %v", err)
	}
}

// What was changed since it was read is read again.
func TestRenewAgain(t *testing.T) {
	client := fake.NewClientset(made(nil))
	conflicts := 2
	client.PrependReactor("update", "namespaces", func(a clienttesting.Action) (bool, runtime.Object, error) {
		conflicts--
		return conflicts >= 0, nil, apierrors.NewConflict(a.GetResource().GroupResource(), cart.Name, errors.New("changed"))
	})
	if err := cart.Renew(t.Context(), client, noon.Add(time.Minute), nobody); err != nil || conflicts != -1 {
		t.Errorf("%v, %d", err, conflicts)
	}
}

func TestExpired(t *testing.T) {
	later := noon.Add(2 * time.Hour)
	const unread = "preview web-cart never expires: its annotation harmony.nationtech.io/expires is %s, and not a time such as 2026-05-01T14:00:00Z"
	at := func(text string) *corev1.Namespace {
		return made(func(n *corev1.Namespace) { n.Annotations[marks.Expires] = text })
	}
	for name, c := range map[string]struct {
		there  *corev1.Namespace
		want   bool
		warned string
	}{
		"expired":           {made(nil), true, ""},
		"renewed":           {at("2026-05-01T14:00:01Z"), false, ""},
		"to the second":     {at("2026-05-01T14:00:00Z"), true, ""},
		"another zone":      {at("2026-05-01T15:59:00+02:00"), true, ""},
		"without a time":    {made(func(n *corev1.Namespace) { delete(n.Annotations, marks.Expires) }), false, fmt.Sprintf(unread, `""`)},
		"no time":           {at("never"), false, fmt.Sprintf(unread, `"never"`)},
		"another project":   {made(func(n *corev1.Namespace) { n.Annotations[marks.Project] = "shop/api" }), false, ""},
		"another target":    {made(func(n *corev1.Namespace) { n.Labels[marks.Preview] = "demo" }), false, ""},
		"somebody's":        {made(func(n *corev1.Namespace) { delete(n.Labels, marks.ManagedBy) }), false, ""},
		"no preview":        {made(func(n *corev1.Namespace) { delete(n.Labels, marks.Preview) }), false, ""},
		"being deleted":     {made(func(n *corev1.Namespace) { n.DeletionTimestamp, n.Finalizers = &metav1.Time{Time: noon}, []string{"x"} }), false, ""},
		"of another branch": {made(func(n *corev1.Namespace) { n.Annotations[marks.Branch] = "pay" }), true, ""},
		"no time at all":    {at(strings.Repeat("\n", 99)), false, fmt.Sprintf(unread, `"`+strings.Repeat(`\n`, 40)+`"`)},
		"of others, no time": {made(func(n *corev1.Namespace) {
			n.Annotations[marks.Expires], n.Annotations[marks.Project] = "never", "shop/api"
		}), false, ""},
	} {
		var warned []string
		found, err := Expired(t.Context(), fake.NewClientset(c.there), "shop/web", "preview", later, func(text string) { warned = append(warned, text) })
		if err != nil || (len(found) == 1) != c.want {
			t.Errorf("%s: %d found, %v, want %t", name, len(found), err, c.want)
		}
		if strings.Join(warned, "; ") != c.warned {
			t.Errorf("%s: warned %q", name, warned)
		}
	}
}

// removing is a removal that notes what it was to remove.
func removing(client *fake.Clientset, removed *[]string) Removal {
	return Removal{Client: client, Name: cart.Name, Target: "preview", Waiting: nobody, Remove: func(_ context.Context, apps []string) error {
		*removed = append(*removed, apps...)
		return nil
	}}
}

func TestRemoval(t *testing.T) {
	for name, c := range map[string]struct {
		there   *corev1.Namespace
		now     time.Time
		only    []string
		removed string
		gone    bool
	}{
		"expired":           {made(nil), noon.Add(2 * time.Hour), nil, "web", true},
		"renewed":           {made(nil), noon, nil, "", false},
		"its only app":      {made(nil), time.Time{}, []string{"web"}, "web", true},
		"one of two":        {made(func(n *corev1.Namespace) { n.Annotations[marks.PreviewApp+"api"] = "" }), time.Time{}, []string{"web"}, "web", false},
		"expired with two":  {made(func(n *corev1.Namespace) { n.Annotations[marks.PreviewApp+"api"] = "" }), noon.Add(2 * time.Hour), nil, "api web", true},
		"somebody's":        {made(func(n *corev1.Namespace) { n.Labels = nil }), time.Time{}, []string{"web"}, "", false},
		"of another target": {made(func(n *corev1.Namespace) { n.Labels[marks.Preview] = "demo" }), noon.Add(2 * time.Hour), nil, "", false},
	} {
		for _, dry := range []bool{true, false} {
			client := fake.NewClientset(c.there.DeepCopy())
			var removed []string
			r := removing(client, &removed)
			r.Now, r.DryRun = c.now, dry
			gone, err := r.Run(t.Context(), c.only...)
			if err != nil || gone != c.gone || strings.Join(removed, " ") != c.removed {
				t.Errorf("%s: removed %v, gone %t, %v", name, removed, gone, err)
			}
			if left := on(t, client); (left == nil) != (c.gone && !dry) || left != nil && name == "one of two" && !dry && !slices.Equal(Apps(left), []string{"api"}) {
				t.Errorf("%s: left %v", name, left)
			}
		}
	}
}

// The namespace is only deleted as it was read: a release may have renewed it.
func TestRemovalOfWhatChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*corev1.Namespace)
		gone   bool
	}{
		"renewed":           {func(n *corev1.Namespace) { n.Annotations[marks.Expires] = "2026-05-09T12:00:00Z" }, false},
		"made again":        {func(n *corev1.Namespace) { n.UID = "2" }, false},
		"labeled by others": {func(n *corev1.Namespace) { n.Labels["team"] = "a" }, true},
	} {
		client := fake.NewClientset(made(nil))
		deletes := 0
		client.PrependReactor("delete", "namespaces", func(a clienttesting.Action) (bool, runtime.Object, error) {
			deletes++
			condition := a.(clienttesting.DeleteActionImpl).DeleteOptions.Preconditions
			tracked, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("namespaces"), "", cart.Name)
			if err != nil {
				t.Fatal(err)
			}
			now := tracked.(*corev1.Namespace).DeepCopy()
			if condition == nil || condition.UID == nil || *condition.UID != now.UID && deletes > 1 || condition.ResourceVersion == nil || *condition.ResourceVersion != now.ResourceVersion {
				t.Errorf("%s: deleted with %v", name, condition)
			}
			if deletes > 1 {
				return false, nil, nil
			}
			c.change(now)
			if err := client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("namespaces"), now, ""); err != nil {
				t.Error(err)
			}
			return true, nil, apierrors.NewConflict(a.GetResource().GroupResource(), cart.Name, errors.New("changed"))
		})
		var removed []string
		r := removing(client, &removed)
		r.Now = noon.Add(2 * time.Hour)
		gone, err := r.Run(t.Context())
		if gone != c.gone || (on(t, client) == nil) != c.gone || (protocol.ExitCode(err) == protocol.ExitRetryable) == c.gone {
			t.Errorf("%s: gone %t, %v", name, gone, err)
		}
	}
}

func TestNow(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", noon.Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	now, err := Now(t.Context(), &rest.Config{Host: server.URL})
	if err != nil || !now.Equal(noon) {
		t.Errorf("%s, %v", now, err)
	}
}

// Another run has begun to remove it, or has done so.
func TestRemovalOfWhatGoes(t *testing.T) {
	later := noon.Add(2 * time.Hour)
	for name, c := range map[string]struct {
		now  time.Time
		gone bool
		fine bool
	}{
		"being deleted, expired": {later, false, true}, "gone, expired": {later, true, true}, "being deleted, by name": {time.Time{}, false, false},
	} {
		client := fake.NewClientset(made(nil))
		client.PrependReactor("create", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
			goes := made(func(n *corev1.Namespace) {
				n.DeletionTimestamp, n.Finalizers = &metav1.Time{Time: later}, []string{"kubernetes"}
			})
			var err error
			if namespaces := corev1.SchemeGroupVersion.WithResource("namespaces"); c.gone {
				err = client.Tracker().Delete(namespaces, "", cart.Name)
			} else {
				err = client.Tracker().Update(namespaces, goes, "")
			}
			if err != nil {
				t.Error(err)
			}
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", errors.New("the namespace is being terminated"))
		})
		var removed []string
		r := removing(client, &removed)
		r.Now = c.now
		for range 2 { // before it is read, and after
			if gone, err := r.Run(t.Context()); gone || (err == nil) != c.fine || len(removed) > 0 {
				t.Errorf("%s: gone %t, removed %v, %v", name, gone, removed, err)
			}
		}
	}
}
