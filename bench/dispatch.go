package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// dispatch measures what it costs to run a plugin that does nothing by its name.
func dispatch(ctx context.Context, b *bench) ([]row, error) {
	bin := b.path("plugins")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	plugin := filepath.Join(bin, "harmony-nothing")
	if err := goBuild(ctx, plugin, "./bench/plugin"); err != nil {
		return nil, err
	}
	if err := goBuild(ctx, b.path("dispatcher"), "./bench/dispatcher"); err != nil {
		return nil, err
	}
	if err := os.Symlink(plugin, filepath.Join(bin, "kubectl-nothing")); err != nil {
		return nil, err
	}
	env := []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}
	times, err := interleave(ctx, b.rounds(100),
		command{name: "harmony", argv: []string{"harmony", "nothing"}, env: env},
		command{name: "direct", argv: []string{plugin}, env: env},
		command{name: "dispatcher", argv: []string{b.path("dispatcher"), "nothing"}, env: env},
		command{name: "kubectl", argv: []string{"kubectl", "nothing"}, env: env},
	)
	if err != nil {
		return nil, err
	}
	const what = "dispatch: harmony NAME"
	return []row{
		{what: what, times: times[0], against: "harmony-NAME, run directly", peer: times[1], budget: budget{over: 3 * time.Millisecond}},
		{what: what, times: times[0], against: "a ten-line Go dispatcher", peer: times[2], budget: budget{ratio: 1.5}},
		{what: what, times: times[0], against: "kubectl NAME", peer: times[3]},
	}, nil
}
