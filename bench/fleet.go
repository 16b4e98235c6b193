package main

import (
	"context"
	"errors"
	"time"
)

// fleet is examples/fleet twice: ours is released by harmony, theirs by docker
// and helm. Each has its own namespaces.
type fleet struct {
	ours, theirs *project
	docker       string // the client; empty when there is none
}

// withFleet makes the two copies, in namespaces that are new, and removes them
// after use.
func withFleet(ctx context.Context, b *bench, use func(*fleet) ([]row, error)) (rows []row, err error) {
	f := &fleet{}
	if f.ours, err = newProject(ctx, b, "bench-harmony"); err != nil {
		return nil, err
	}
	if f.theirs, err = newProject(ctx, b, "bench-peer"); err != nil {
		return nil, err
	}
	if f.docker, err = findDocker(ctx); err != nil {
		b.say("NO DOCKER: the rows against docker are left out: %v", err)
	}
	if err := deleteNamespaces(ctx, f.ours, f.theirs); err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		err = errors.Join(err, deleteNamespaces(ctx, f.ours, f.theirs))
	}()
	return use(f)
}

// peer is the peer's command for the apps and namespaces; there is none without
// docker.
func (f *fleet) peer(apps, namespaces string) ([]command, error) {
	if f.docker == "" {
		return nil, nil
	}
	c, err := f.theirs.peer(f.docker, apps, namespaces)
	return []command{c}, err
}

// row is ours against the peer's series, of which there is one at most.
func (f *fleet) row(what string, ours series, theirs []series, limit budget) row {
	r := row{what: what, times: ours, budget: limit, against: "docker build, push, helm upgrade"}
	if len(theirs) == 0 {
		r.note = "NO DOCKER: not compared"
		return r
	}
	r.peer = theirs[0]
	return r
}
