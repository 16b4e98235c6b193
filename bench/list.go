package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// manyPlugins is how many plugins there are to list.
const manyPlugins = 200

// list measures how long it takes to list many plugins, of which none may run.
func list(ctx context.Context, b *bench) ([]row, error) {
	folder, ran := b.path("many"), b.path("ran")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for i := range manyPlugins {
		for _, tool := range []string{"harmony", "kubectl"} {
			file := filepath.Join(folder, fmt.Sprintf("%s-plugin%d", tool, i))
			if err := os.WriteFile(file, []byte("#!/bin/sh\necho ran >>"+ran+"\n"), 0o755); err != nil {
				return nil, err
			}
		}
	}
	env := []string{"PATH=" + folder + string(os.PathListSeparator) + os.Getenv("PATH")}
	times, err := interleave(ctx, b.rounds(50),
		command{name: "harmony plugin list", argv: []string{"harmony", "plugin", "list"}, env: env},
		command{name: "kubectl plugin list", argv: []string{"kubectl", "plugin", "list"}, env: env},
	)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("a plugin was run to be listed: %w", err)
	}
	return []row{{
		what: fmt.Sprintf("list: %d plugins on PATH", manyPlugins), times: times[0],
		against: "kubectl plugin list", peer: times[1], budget: budget{time: 20 * time.Millisecond},
	}}, nil
}
