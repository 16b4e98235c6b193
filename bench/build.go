package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// builds measures the build stage next to the builders it is compared with.
func builds(ctx context.Context, b *bench) (rows []row, err error) {
	t, err := startBuilders(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	for _, measure := range []func(context.Context, *builders) ([]row, error){recognise, withRun, goProgram, cold} {
		measured, failed := measure(ctx, t)
		rows, err = append(rows, measured...), errors.Join(err, failed)
	}
	return rows, err
}

// cold measures a Dockerfile without RUN over a large context, when nothing of
// it was built before. Ours leaves an OCI layout in the cache: stored, as a topology
// whose registry is on this machine has it, compared with docker, which leaves its image
// uncompressed too, and buildctl, on request; and once more compressed, as
// buildctl does it by itself.
func cold(ctx context.Context, t *builders) ([]row, error) {
	size := 512
	if t.bench.quick {
		size = 32
	}
	s, err := t.source("large", "FROM scratch\nCOPY data /data\nENTRYPOINT [\"/data/0/0\"]\n")
	if err != nil {
		return nil, err
	}
	if err := s.writeLarge(size); err != nil {
		return nil, err
	}
	archive := "--output=type=oci,dest=" + t.bench.path("large.tar")
	var rows []row
	for _, c := range []struct {
		what, settings string
		peers          []command
	}{
		{"stored", "none", []command{t.pruned(t.dockerBuild(s)), t.pruned(t.buildctl(s, archive+",compression=uncompressed"))}},
		{"gzip", "gzip", []command{t.pruned(t.buildctl(s, archive))}},
	} {
		ours, err := t.ours(s, "adapter: daemonless, settings: {compression: "+c.settings+"}")
		if err != nil {
			return rows, err
		}
		what := fmt.Sprintf("build, cold: COPY of %d MiB, %s", size, c.what)
		more, err := t.compare(ctx, what, 5, budget{ratio: 0.25}, afresh(s, ours), c.peers...)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// withRun measures what the adapters add to the builders that they drive: the
// same Dockerfile, rebuilt each time.
func withRun(ctx context.Context, t *builders) ([]row, error) {
	s, err := t.source("run", `FROM scratch
COPY busybox /bin/busybox
COPY data /data
RUN ["/bin/busybox", "sh", "-c", "for i in 1 2 3 4 5 6; do /bin/busybox sha256sum /data/*/*; done >/sums"]
`)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.copyBusybox(), s.writeLarge(32)); err != nil {
		return nil, err
	}
	limit := budget{ratio: 1.05}
	docker, err := t.ours(s, "adapter: docker", "--no-cache")
	if err != nil {
		return nil, err
	}
	rows, err := t.compare(ctx, "build with RUN: adapter docker", 11, limit, docker, t.dockerBuild(s, "--no-cache"))
	if err != nil {
		return nil, err
	}
	buildkit, err := t.ours(s, "adapter: buildkit, settings: {address: "+t.address+"}", "--no-cache")
	if err != nil {
		return rows, err
	}
	push := "--output=type=image,name=" + t.registry + "/peer,push=true,push-by-digest=true,registry.insecure=true"
	more, err := t.compare(ctx, "build with RUN: adapter buildkit", 11, limit, buildkit, t.buildctl(s, "--no-cache", push))
	return append(rows, more...), err
}

// recognise measures a build that finds its image made already, with a context
// of many files.
func recognise(ctx context.Context, t *builders) ([]row, error) {
	s, err := t.source("many", "FROM scratch\nCOPY data /data\nENTRYPOINT [\"/data/0/0\"]\n")
	if err != nil {
		return nil, err
	}
	if err := s.writeMany(10_000); err != nil {
		return nil, err
	}
	limit := budget{time: 150 * time.Millisecond}
	ours, err := t.ours(s, "adapter: daemonless")
	if err != nil {
		return nil, err
	}
	const what = "build, unchanged: 10,000 files"
	rows, err := t.compare(ctx, what, 20, limit, ours, t.dockerBuild(s), t.buildctl(s))
	if err != nil {
		return nil, err
	}
	work, err := s.inside()
	if err != nil {
		return rows, err
	}
	inside, err := interleave(ctx, t.bench.rounds(20), work)
	if err != nil {
		return rows, err
	}
	return append(rows, row{what: what + ", inside harmony-build", times: inside[0], budget: limit}), nil
}
