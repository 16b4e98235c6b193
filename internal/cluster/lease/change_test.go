package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

func TestAwaitChange(t *testing.T) {
	changes := watch.NewFake()
	open := func(context.Context) (watch.Interface, error) { return changes, nil }
	go func() {
		changes.Add(nil) // what is there already
		changes.Modify(nil)
	}()
	if err := AwaitChange(t.Context(), time.Minute, open); err != nil {
		t.Error(err)
	}
	fail := func(context.Context) (watch.Interface, error) { return nil, errors.New("no watch") }
	if err := AwaitChange(t.Context(), time.Millisecond, fail); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := AwaitChange(ended, time.Minute, fail); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the context ended", err)
	}
}
