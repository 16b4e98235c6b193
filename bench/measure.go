package main

import (
	"context"
	"slices"
	"time"
)

// series are the times of one command, one a round.
type series []time.Duration

// interleave runs the commands in turn, round after round, and returns the
// series of each. A first round warms caches up and is not counted.
func interleave(ctx context.Context, rounds int, commands ...command) ([]series, error) {
	times := make([]series, len(commands))
	for round := range rounds + 1 {
		for i, c := range commands {
			took, err := c.time(ctx)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				times[i] = append(times[i], took)
			}
		}
	}
	return times, nil
}

// median of numbers, of which there is at least one.
func median[T ~int64 | ~float64](numbers []T) T {
	sorted := slices.Sorted(slices.Values(numbers))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratio is the median over the rounds of a's time by b's.
func ratio(a, b series) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = float64(a[i]) / float64(b[i])
	}
	return median(ratios)
}

// over is the median over the rounds of a's time less b's.
func over(a, b series) time.Duration {
	differences := make(series, len(a))
	for i := range a {
		differences[i] = a[i] - b[i]
	}
	return median(differences)
}
