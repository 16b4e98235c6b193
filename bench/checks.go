package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// manyChecks is how many http checks an app has, of which the slowest takes slowestCheck.
const (
	manyChecks   = 10
	slowestCheck = 300 * time.Millisecond
)

// checks measures how much longer many checks of an app take than the slowest of them.
func checks(ctx context.Context, b *bench) ([]row, error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		select {
		case <-time.After(time.Duration(wait) * time.Millisecond):
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	p := &project{name: "bench-checks", folder: b.path("checks")}
	var commands []command
	for name, from := range map[string]int{"many": 1, "one": manyChecks} {
		if err := p.write(name+"/harmony.yaml", withChecks(server.URL, from)); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"many", "one"} {
		commands = append(commands, command{
			name: "harmony smoke", argv: []string{"harmony", "smoke", "--all", "--target=staging", "--version=1.0.0"}, dir: b.path("checks/" + name),
		})
	}
	times, err := interleave(ctx, b.rounds(15), commands...)
	if err != nil {
		return nil, err
	}
	return []row{{
		what: fmt.Sprintf("checks: %d by http", manyChecks), times: times[0],
		against: "the slowest of them alone", peer: times[1], budget: budget{over: 50 * time.Millisecond},
	}}, nil
}

// withChecks is a harmony.yaml whose app has checks that take longer one after the other,
// from one of them on.
func withChecks(url string, from int) string {
	var checks strings.Builder
	for i := from; i <= manyChecks; i++ {
		wait := slowestCheck.Milliseconds() * int64(i) / manyChecks
		fmt.Fprintf(&checks, "    - {name: check-%d, http: {url: %s/%d, expect: {status: 200}}}\n", i, url, wait)
	}
	return `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: checked}
spec:
  image: {buildable: {type: go}}
  chart: {workload: {ports: [{name: http, port: 8080}]}}
  smoke:
` + checks.String()
}
