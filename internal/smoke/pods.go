package smoke

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// podLook is the pause between two looks at what a check runs in the cluster.
	podLook = 300 * time.Millisecond
	// cleanup is what removing that, and reading its last lines, may take after the check's
	// time.
	cleanup = 5 * time.Second
	// logTail is how many of the last lines of a log are read.
	logTail = 20
)

// podsOf are the pods of a Job.
func (c *cluster) podsOf(ctx context.Context, selector *metav1.LabelSelector) ([]corev1.Pod, error) {
	var list corev1.PodList
	query := url.Values{"labelSelector": {metav1.FormatLabelSelector(selector)}}
	err := c.get(ctx, "api/v1", "pods", query, &list)
	return list.Items, err
}

// said are the last lines of the logs of pods, also after the check's time.
func (c *cluster) said(ctx context.Context, pods []corev1.Pod) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	var all []byte
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			query := url.Values{"container": {container.Name}, "tailLines": {strconv.Itoa(logTail)}, "limitBytes": {strconv.Itoa(maxOutput)}}
			log, err := c.read(ctx, fmt.Sprintf("api/v1/namespaces/%s/pods/%s/log", pod.Namespace, pod.Name), query)
			if err != nil {
				log = fmt.Appendf(nil, "its log cannot be read: %v\n", err)
			}
			all = append(all, log...)
		}
	}
	return lastOf(all)
}

// remove deletes an object with what belongs to it, also after the check's time. One that was
// replaced meanwhile is left alone, unless any is to go, with an empty uid.
func (c *cluster) remove(ctx context.Context, path string, uid types.UID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}, PropagationPolicy: &background}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	_, err := c.send(ctx, http.MethodDelete, path, nil, options)
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("it is left behind: %w", err)
}

// sleep waits, at most until the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cancelled reports an end of ctx that is not that of its time.
func cancelled(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded)
}
