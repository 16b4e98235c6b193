package docker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nationtech/harmony/internal/registry/daemon"
)

const (
	// keep is how many images of an app stay in the daemon in any case.
	keep = 5
	// pruneAge is how old any other is before its name is removed.
	pruneAge = 24 * time.Hour
)

// named is an image and when it got its name.
type named struct {
	name   string
	tagged time.Time
}

// prune removes the names of an app's old images, and so the images that have
// no other name.
func prune(ctx context.Context, d *daemon.Client, repository string) error {
	names, err := d.Tags(ctx, repository)
	if err != nil || len(names) <= keep {
		return err
	}
	var images []named
	for _, name := range names {
		image, err := d.Image(ctx, name)
		switch {
		case daemon.IsNotFound(err):
			continue
		case err != nil:
			return err
		}
		images = append(images, named{name, image.Tagged})
	}
	for _, image := range outdated(images, time.Now()) {
		err := d.Untag(ctx, image.name)
		var refused *daemon.Refusal
		if err != nil && !errors.As(err, &refused) { // gone already, or in use
			return err
		}
	}
	return nil
}

// outdated are the images that need not be kept.
func outdated(images []named, now time.Time) []named {
	slices.SortFunc(images, func(a, b named) int { return b.tagged.Compare(a.tagged) })
	rest := images[min(keep, len(images)):]
	return slices.DeleteFunc(rest, func(image named) bool { return now.Sub(image.tagged) < pruneAge })
}
