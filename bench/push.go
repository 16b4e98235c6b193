package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nationtech/harmony/pkg/protocol"
)

// pushers are the tools that push, and the registry that they push to.
type pushers struct {
	bench    *bench
	docker   string // the client; empty when there is none
	registry *storage
	peak     int64 // the most memory of harmony publish, in bytes
}

// pushes measures the publish stage against the tools that push images and charts.
func pushes(ctx context.Context, b *bench) (rows []row, err error) {
	t := &pushers{bench: b}
	if t.docker, err = findDocker(ctx); err != nil {
		b.say("NO DOCKER: the rows against docker are left out: %v", err)
	}
	if t.registry, err = startStorage(ctx, b); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.registry.stop()) }()
	few, many := int64(64<<20), int64(1<<20)
	if b.quick {
		few, many = 4<<20, 64<<10
	}
	for _, shape := range []struct {
		layers int
		size   int64
	}{{8, few}, {200, many}} {
		more, err := t.images(ctx, shape.layers, shape.size)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	limit := budget{memory: 64 << 20}
	rows = append(rows, row{what: "push: peak memory of harmony publish", memory: t.peak, budget: limit})
	more, err := t.charts(ctx)
	return append(rows, more...), err
}

// images measures the pushes of one image: whole, not at all, and one layer of it.
func (t *pushers) images(ctx context.Context, layers int, size int64) (rows []row, err error) {
	folder := t.bench.path(fmt.Sprintf("push-%d", layers))
	image, err := newPushed(folder, layers, size)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, image.unload(context.WithoutCancel(ctx)), os.RemoveAll(folder))
	}()
	all := t.commands(image)
	if err := all.prepare(ctx); err != nil {
		return nil, err
	}
	if err := t.weigh(ctx, all.list[0]); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		what   string
		rounds int
		before func(c pusher) func(context.Context) error
	}{
		{"", 6, func(pusher) func(context.Context) error { return t.registry.empty }},
		// The round that is not counted brings the image there.
		{", unchanged", 15, func(pusher) func(context.Context) error { return nil }},
		{", one layer changed", 6, func(c pusher) func(context.Context) error {
			return func(ctx context.Context) error {
				defer settle()
				return errors.Join(image.change(ctx), c.ready(ctx))
			}
		}},
	} {
		what := fmt.Sprintf("push %d × %s%s", layers, bytes(size), m.what)
		more, err := all.measure(ctx, what, t.bench.rounds(m.rounds), m.before)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", what, err)
		}
	}
	return rows, nil
}

// weigh keeps the most memory that a push of ours has, of a run by itself: to
// look at a process all the time makes it slower.
func (t *pushers) weigh(ctx context.Context, ours pusher) error {
	ours.peak = &t.peak
	return errors.Join(t.registry.empty(ctx), ours.run(ctx))
}

// pusher is a command that pushes an image, and what brings the image to where
// the command takes it from.
type pusher struct {
	command
	ready func(context.Context) error
}

// pushCommands are ours and then the peers'.
type pushCommands struct {
	list []pusher
	// without says why docker is not among them, if it is not.
	without string
}

// dockerLayers is how many layers an image in docker's daemon has at most.
const dockerLayers = 125

func nothing(context.Context) error { return nil }

// commands push the image, each into a repository of its own.
func (t *pushers) commands(image *pushed) pushCommands {
	reference := func(tool string) string { return t.registry.host + "/" + tool + ":0.0.0-dev" }
	all := pushCommands{list: []pusher{
		t.harmony(image),
		{command{name: "crane push", argv: []string{"crane", "push", "--insecure", image.layout(), reference("crane")}}, nothing},
		{command{name: "skopeo copy", argv: []string{
			"skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "oci:" + image.layout(), "docker://" + reference("skopeo"),
		}}, nothing},
	}}
	switch ref := reference("docker"); {
	case t.docker == "":
		all.without = "NO DOCKER: not compared"
	case len(image.layers) > dockerLayers:
		all.without = fmt.Sprintf("docker has no more than %d layers", dockerLayers)
	default:
		push := command{name: "docker push", argv: []string{t.docker, "push", "--quiet", ref}}
		all.list = append(all.list, pusher{push, func(ctx context.Context) error { return image.load(ctx, t.docker, ref) }})
	}
	return all
}

// harmony publishes the image, until it reports that the registry has it: the chart
// that comes after it is not part of the peers' work.
func (t *pushers) harmony(image *pushed) pusher {
	documents := t.bench.path("push.ndjson")
	c := command{
		name: "harmony-publish", argv: []string{"harmony-publish"}, stdin: documents,
		until: `"location":"registry"`, dir: t.bench.folder, env: []string{"XDG_CACHE_HOME=" + t.bench.path("push-cache")},
	}
	return pusher{c, func(context.Context) error {
		digest, err := image.image.Digest()
		if err != nil {
			return err
		}
		return t.documents(documents, "0.0.0-dev", protocol.Provider{Adapter: "none"}, protocol.ImageRef{
			Repository: "harmony", Digest: digest.String(), Location: protocol.InLayout, Path: image.layout(),
		})
	}}
}

// prepare brings the image to where each command takes it from.
func (c pushCommands) prepare(ctx context.Context) error {
	for _, p := range c.list {
		if err := p.ready(ctx); err != nil {
			return fmt.Errorf("prepare %s: %w", p.name, err)
		}
	}
	return nil
}

// measure runs all in turn. Not slower than each of the peers is not slower
// than the fastest.
func (c pushCommands) measure(ctx context.Context, what string, rounds int, before func(pusher) func(context.Context) error) ([]row, error) {
	var commands []command
	var names []string
	for _, p := range c.list {
		p.before = before(p)
		commands, names = append(commands, p.command), append(names, p.name)
	}
	times, err := interleave(ctx, rounds, commands...)
	if err != nil {
		return nil, err
	}
	limit := budget{ratio: 1}
	rows := compare(what, times[0], limit, names[1:], times[1:])
	if c.without != "" {
		rows = append(rows, row{what: what, times: times[0], against: "docker push", budget: limit, note: c.without})
	}
	return rows, nil
}
