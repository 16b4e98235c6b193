package pipeline

import (
	"context"
	"slices"
	"sync"

	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// stageScore is the work of a stage that is not built in: the stage gets the
// app's documents of the kinds that it consumes, and answers with at least one
// of each kind that it produces. Nothing else is known of it.
type stageScore struct {
	app     protocol.AppSpec
	step    protocol.PipelineStep
	info    protocol.PluginInfo
	process *process.Process
	intake  *intake
	// stands is the capability that the stage stands for, or "".
	stands string
}

// Title implements [capability.Score].
func (s stageScore) Title() string { return s.step.String() }

// App implements [capability.Score].
func (s stageScore) App() protocol.AppSpec { return s.app }

// Run implements [capability.Score].
func (s stageScore) Run(ctx context.Context, record *capability.Record) error {
	err := s.process.Send(append([]protocol.Spec{s.app}, record.Of(s.app.Name, s.step.Target, s.info.Consumes...)...)...)
	s.intake.done(s.app.Name)
	if err == nil {
		err = s.receive(ctx, record)
	}
	if err != nil {
		return &capability.StageError{Stage: s.step.Stage, Target: s.step.Target, Err: err}
	}
	return nil
}

// receive takes the app's results until the stage has ended.
func (s stageScore) receive(ctx context.Context, record *capability.Record) error {
	missing := slices.Clone(s.info.Produces)
	err := s.process.Each(ctx, s.app.Name, func(d protocol.Document) error {
		if err := process.Failure(d); err != nil {
			return err
		}
		if !slices.Contains(s.info.Produces, d.Kind) {
			return nil
		}
		missing = slices.DeleteFunc(missing, func(kind protocol.Kind) bool { return kind == d.Kind })
		result := protocol.ResultOf(d)
		result.Capability = s.stands
		record.Add(s.step.Stage, s.step.Target, result)
		return nil
	})
	if err == nil && len(missing) > 0 {
		return s.process.Died()
	}
	return err
}

// intake ends the input of a stage when every app of its step was sent or is left
// out: who waits for further documents knows then that there are none.
type intake struct {
	process *process.Process

	mu   sync.Mutex
	left map[string]bool // apps that are yet to come
}

func newIntake(p *process.Process, apps []protocol.AppSpec) *intake {
	i := &intake{process: p, left: map[string]bool{}}
	for _, app := range apps {
		i.left[app.Name] = true
	}
	return i
}

func (i *intake) done(app string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.left[app] {
		return
	}
	delete(i.left, app)
	if len(i.left) == 0 {
		_ = i.process.EndInput() // told when the stage is closed
	}
}
