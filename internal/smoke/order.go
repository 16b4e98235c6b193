package smoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// atOnce bounds how many checks of an app are tried at the same time.
const atOnce = 16

// runAll runs the checks side by side, each after those that it needs, and writes
// what they saw into report.
func (c *checker) runAll(ctx context.Context, s scene, probes []probe, report *protocol.SmokeReport) error {
	total := len(s.app.Smoke)
	if total == 0 {
		c.progress(s.app, 0, 0, "no smoke checks: nothing to check")
		return nil
	}
	r := round{checker: c, scene: s, report: report, slots: make(chan struct{}, atOnce), ended: make([]chan struct{}, total), errs: make([]error, total)}
	for i := range r.ended {
		r.ended[i] = make(chan struct{})
	}
	var group sync.WaitGroup
	for i := range probes {
		group.Go(func() {
			defer close(r.ended[i])
			r.one(ctx, i, probes[i])
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	failed := slices.DeleteFunc(r.errs, func(err error) bool { return err == nil })
	return failureOfAll(failed, fmt.Sprintf("%d of %d smoke checks of %s failed on %s", len(failed), total, s.app.Name, c.place(report.Target)))
}

// round is one run of all checks. A check writes its own places of report.Checks and errs
// before it closes its ended.
type round struct {
	checker *checker
	scene   scene
	report  *protocol.SmokeReport
	slots   chan struct{}
	ended   []chan struct{}
	errs    []error

	mu   sync.Mutex
	done int
}

func (r *round) one(ctx context.Context, i int, p probe) {
	check := r.scene.app.Smoke[i]
	if missing := r.await(check.Needs); missing != "" {
		r.report.Checks[i].Message = missing
		r.tell(1, check.Name)
		return
	}
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	r.tell(0, check.Name)
	result, err := run(ctx, check, p)
	if r.report.Checks[i] = result; err != nil {
		r.errs[i] = r.checker.failure(r.scene, check, result, err)
	}
	r.tell(1, check.Name)
}

// await waits for the checks of the names, and says why one that needs them is skipped, or
// "". A check that does not run here is not waited for.
func (r *round) await(needs []string) string {
	for _, name := range needs {
		i := slices.IndexFunc(r.scene.app.Smoke, func(c protocol.SmokeCheck) bool { return c.Name == name })
		if i < 0 {
			continue
		}
		<-r.ended[i]
		if status := r.report.Checks[i].Status; status != protocol.CheckPassed {
			return fmt.Sprintf("needs %s, which %s", name, map[protocol.CheckStatus]string{protocol.CheckFailed: "failed", protocol.CheckSkipped: "was skipped"}[status])
		}
	}
	return ""
}

func (r *round) tell(ended int, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += ended
	r.checker.progress(r.scene.app, r.done, len(r.scene.app.Smoke), name)
}

// failure is the error of a check: of status protocol.ExitSmoke when the app did
// not pass, else with the status that err has: interrupted, or the cluster's.
func (c *checker) failure(s scene, check protocol.SmokeCheck, result protocol.CheckResult, err error) error {
	about := fmt.Sprintf("smoke check %q of %s on %s", result.Name, s.app.Name, c.place(s.target))
	if errors.Is(err, context.Canceled) || errors.As(err, new(*blocked)) {
		return fmt.Errorf("%s: %w", about, err)
	}
	message := about + ": " + result.Message
	if result.Attempts > 1 {
		message += fmt.Sprintf(" (%d attempts)", result.Attempts)
	}
	return &protocol.Error{Code: protocol.ExitSmoke, Message: message, Hint: s.further(check)}
}

// further is a command that shows more about a failed check, or "".
func (s scene) further(check protocol.SmokeCheck) string {
	if s.cluster == nil {
		return ""
	}
	kubectl := "kubectl --namespace " + s.cluster.Namespace
	if s.cluster.Context != "" {
		kubectl += " --context " + s.cluster.Context
	}
	switch service := serviceOf(check); {
	case check.Rollout != nil && check.Rollout.Workload != "":
		return kubectl + " describe " + check.Rollout.Workload
	case check.Rollout != nil:
		return kubectl + " get pods --selector " + instanceLabel + "=" + s.app.Name
	case check.Resource != nil && check.Resource.Name != "":
		return kubectl + " get " + strings.ToLower(check.Resource.Kind) + " " + check.Resource.Name + " --output yaml"
	case check.Logs != nil && check.Logs.Workload != "":
		return kubectl + " logs --all-containers " + check.Logs.Workload
	case check.Job != nil:
		return kubectl + " get events --sort-by .lastTimestamp"
	case check.HelmTest != nil:
		return strings.Replace(strings.Replace(kubectl, "kubectl", "helm test "+s.app.Name+" --logs", 1), "--context", "--kube-context", 1)
	case service != "":
		return kubectl + " get endpointslices --selector kubernetes.io/service-name=" + service
	}
	return ""
}

// serviceOf is the Service of the target's namespace that a check goes to, or "".
func serviceOf(check protocol.SmokeCheck) string {
	switch {
	case check.HTTP != nil:
		return check.HTTP.Service
	case check.TCP != nil:
		return check.TCP.Service
	case check.GRPC != nil:
		return check.GRPC.Service
	}
	return ""
}

// listed bounds how many errors a message has, one a line.
const listed = 10

// failureOfAll combines errors with the worst of their statuses; nil without any.
func failureOfAll(failed []error, title string) error {
	if len(failed) < 2 {
		return errors.Join(failed...)
	}
	var codes []int
	var lines []string
	for _, err := range failed {
		codes, lines = append(codes, protocol.ExitCode(err)), append(lines, err.Error())
	}
	return &protocol.Error{Code: protocol.WorstCode(codes...), Message: title + term.Listed(lines, listed), Hint: protocol.HintOf(failed[0])}
}
