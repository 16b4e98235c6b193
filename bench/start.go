package main

import (
	"context"
	"time"
)

// start measures how long each binary takes to say its version.
func start(ctx context.Context, b *bench) ([]row, error) {
	own := []struct {
		name   string
		budget time.Duration
	}{
		{name: "harmony"},
		{"harmony-build", 15 * time.Millisecond},
		{"harmony-publish", 25 * time.Millisecond},
		{name: "harmony-chart"},
		{"harmony-deploy", 40 * time.Millisecond},
		{"harmony-smoke", 15 * time.Millisecond},
		{"harmony-monitor", 15 * time.Millisecond},
		{name: "harmony-registry"},
		{name: "harmony-devices"},
		{name: "harmony-plugin"},
	}
	commands := []command{
		{name: "crane version", argv: []string{"crane", "version"}},
		{name: "helm version", argv: []string{"helm", "version"}},
	}
	for _, o := range own {
		commands = append(commands, command{name: o.name, argv: []string{o.name, "version"}})
	}
	times, err := interleave(ctx, b.rounds(50), commands...)
	if err != nil {
		return nil, err
	}
	names := []string{commands[0].name, commands[1].name}
	var rows []row
	for i, o := range own {
		rows = append(rows, compare("start: "+o.name+" version", times[i+2], budget{time: o.budget}, names, times[:2])...)
	}
	return rows, nil
}
