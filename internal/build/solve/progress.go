package solve

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// tailLines and tailBytes are how much of what a failed step wrote is shown.
	tailLines = 20
	tailBytes = 8 << 10
	// interval is the least time between two events of what steps write.
	interval = 200 * time.Millisecond
	// maxLine is the longest line of output in an event.
	maxLine = 200
)

// progress reports the steps of one build.
type progress struct {
	app   protocol.Metadata
	send  func(protocol.Event)
	steps map[digest.Digest]*step
	done  int64
	told  time.Time
	// failed is the step that failed first, if any.
	failed digest.Digest
}

type step struct {
	number         int
	name           string
	started, ended bool
	output         []byte // the last of it
}

func newProgress(r build.Request, send func(protocol.Event)) *progress {
	if send == nil {
		send = func(protocol.Event) {}
	}
	return &progress{app: r.App.Metadata, send: send, steps: map[digest.Digest]*step{}}
}

// follow takes all status messages of the builder.
func (p *progress) follow(statuses <-chan *client.SolveStatus) {
	for status := range statuses {
		for _, v := range status.Vertexes {
			p.vertex(v)
		}
		for _, s := range status.Statuses {
			p.transfer(s)
		}
		for _, l := range status.Logs {
			p.log(l)
		}
	}
}

func (p *progress) step(sum digest.Digest) *step {
	s := p.steps[sum]
	if s == nil {
		s = &step{number: len(p.steps) + 1}
		p.steps[sum] = s
	}
	return s
}

// vertex reports that a step begins or ends.
func (p *progress) vertex(v *client.Vertex) {
	s := p.step(v.Digest)
	s.name = v.Name
	if s.ended || v.Started == nil {
		return
	}
	switch {
	case v.Completed == nil && !s.started:
		s.started = true
		p.tell(protocol.PhaseStep, "#%d %s", s.number, s.name)
	case v.Completed == nil:
	case v.Cached:
		p.end(s, "CACHED")
	case v.Error != "":
		if p.failed == "" && !strings.Contains(v.Error, "context canceled") {
			p.failed = v.Digest
		}
		p.end(s, "ERROR")
	default:
		p.end(s, fmt.Sprintf("%.1fs", v.Completed.Sub(*v.Started).Seconds()))
	}
}

func (p *progress) end(s *step, how string) {
	s.ended = true
	p.done++
	p.tell(protocol.PhaseStep, "#%d %s %s", s.number, s.name, how)
}

// transfer reports the progress of a part of a step, but not too often.
func (p *progress) transfer(v *client.VertexStatus) {
	s := p.steps[v.Vertex]
	if s == nil || v.Completed != nil || v.Total == 0 || !p.due() {
		return
	}
	p.send(protocol.Event{Metadata: p.app, Phase: "build", Current: v.Current, Total: v.Total, Unit: "bytes", Message: fmt.Sprintf("#%d %s", s.number, v.ID)})
}

// log keeps the end of what a step writes, and reports the last line now and then.
func (p *progress) log(l *client.VertexLog) {
	s := p.step(l.Vertex)
	s.output = append(s.output, l.Data...)
	if extra := len(s.output) - tailBytes; extra > 0 {
		s.output = append(s.output[:0], s.output[extra:]...)
	}
	if lines := s.lines(); len(lines) > 0 && p.due() {
		line := lines[len(lines)-1]
		p.tell("build", "#%d %s", s.number, line[:min(len(line), maxLine)])
	}
}

func (p *progress) due() bool {
	if time.Since(p.told) < interval {
		return false
	}
	p.told = time.Now()
	return true
}

func (p *progress) tell(phase, format string, args ...any) {
	e := protocol.Event{Metadata: p.app, Phase: phase, Message: strings.ToValidUTF8(fmt.Sprintf(format, args...), "")}
	if phase == protocol.PhaseStep {
		e.Current, e.Total, e.Unit = p.done, int64(len(p.steps)), "steps"
	}
	p.send(e)
}

// lines are the last of what the step wrote.
func (s *step) lines() []string {
	text := string(bytes.TrimRight(bytes.ToValidUTF8(s.output, nil), "\r\n\t "))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		// What was overwritten on a terminal is left out.
		lines[i] = strings.TrimRight(line, "\r")
		lines[i] = lines[i][strings.LastIndexByte(lines[i], '\r')+1:]
	}
	return lines
}

// tail is the last of what a step wrote, as lines to follow a message.
func (p *progress) tail(sum string) string {
	s := p.steps[digest.Digest(sum)]
	if s == nil {
		return ""
	}
	var b strings.Builder
	for _, line := range s.lines() {
		b.WriteString("\n  | " + line)
	}
	return b.String()
}
