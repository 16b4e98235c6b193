package plugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// imagesAtOnce bounds how many images of one app are worked on at once.
const imagesAtOnce = 4

// check fails for an app with several images, or places of one, where the stage, or one
// before it, knows only the first.
func (s Stage) check(in Inputs) error {
	if err := s.Info(nil).CheckApp(in.App); err != nil {
		return err
	}
	if in.Image != nil {
		err := in.App.CheckImages(protocol.KindImageRef, func(name string) bool { return in.Image.Images[name].Repository != "" })
		if err != nil {
			return err
		}
	}
	if in.Chart == nil {
		return nil
	}
	if err := in.App.CheckPlaces(*in.Chart); err != nil {
		return err
	}
	return in.App.CheckImages(protocol.KindChartRef, func(name string) bool {
		_, has := in.Chart.Images[name]
		return has
	})
}

// byImage is the environment of an adapter that works on one image at a time: what
// it tells of a further image is shown as its app's.
func byImage(env Environment) Environment {
	progress := env.Progress
	env.Progress = func(e protocol.Event) {
		if app, image := protocol.SplitImage(e.Name); image != "" {
			e.Name, e.Message = app, "image "+image+": "+e.Message
		}
		progress(e)
	}
	return env
}

// eachImage makes the images of an app, side by side. What fails first ends the
// others.
func eachImage(ctx context.Context, app protocol.AppSpec, do func(context.Context, protocol.AppSpec) (protocol.ImageRef, error)) (protocol.ImageRef, error) {
	apps := app.ForEachImage()
	if len(apps) == 1 {
		return do(ctx, app)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made := make([]protocol.ImageRef, len(apps))
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	slots := make(chan struct{}, imagesAtOnce)
	for i, one := range apps {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := guard(func() (err error) {
				made[i], err = do(ctx, one)
				return err
			})
			if _, image := protocol.SplitImage(one.Name); err != nil && image != "" {
				err = fmt.Errorf("image %s: %w", image, err)
			}
			if err != nil {
				once.Do(func() { failed = err })
				cancel(err)
			}
		})
	}
	all.Wait()
	if failed != nil {
		return protocol.ImageRef{}, failed
	}
	image := made[0]
	image.Images = map[string]protocol.ImageRef{}
	for i, name := range app.ImageNames() {
		made[i+1].Metadata = app.Metadata
		image.Images[name] = made[i+1]
	}
	return image, nil
}

// pushImages brings the images of an app into the registry.
func pushImages(ctx context.Context, registry capability.OCIRegistry, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	return eachImage(ctx, app, func(ctx context.Context, one protocol.AppSpec) (protocol.ImageRef, error) {
		built := image
		if _, name := protocol.SplitImage(one.Name); name != "" {
			built = image.Images[name]
		}
		built.Metadata, built.Images = one.Metadata, nil
		return registry.PushImage(ctx, one, built)
	})
}
