// Package term has all output for people: progress, results, failures, colour, tables,
// and the annotations of CI systems. It writes to stderr; stdout is for documents and
// for the output that a command was asked for.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	xterm "golang.org/x/term"

	"github.com/nationtech/harmony/internal/cli/plain"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Console shows the progress of a run. On a terminal it redraws the lines of running
// tasks; elsewhere it prints one plain line for each change.
type Console struct {
	mu      sync.Mutex
	w       io.Writer
	results io.Writer
	palette palette
	width   func() int // nil: not a terminal
	actions bool       // GitHub's annotations are understood
	quiet   bool

	tasks []*task
	drawn int
	// appWidth and stepWidth are the minimum widths of the columns.
	appWidth, stepWidth int
	stop, done          chan struct{}
}

// task is the work of one stage on one app.
type task struct {
	app, stage, target string
	started            time.Time
	event              protocol.Event
	// shown while the task is running. A stage that reports the start and the end of
	// its work decides that alone: results use another channel, and may overtake its
	// events.
	shown, told bool
	logged      string
}

// Options configure a console.
type Options struct {
	// Err gets progress and failures: stderr.
	Err io.Writer
	// Results gets the lines of results; Err when nil.
	Results io.Writer
	// Getenv looks up NO_COLOR, TERM and the variables of CI systems.
	Getenv func(string) string
	// Quiet omits progress, and results unless they have their own writer.
	Quiet bool
}

// New opens a console; the caller must close it.
func New(o Options) *Console {
	c := &Console{
		w: o.Err, results: o.Results, quiet: o.Quiet,
		actions: o.Getenv("GITHUB_ACTIONS") == "true" && o.Getenv("GITEA_ACTIONS") != "true",
	}
	if c.results == nil {
		c.results = c.w
	}
	interval, show := time.Second, c.log
	if IsTerminal(o.Err) && o.Getenv("TERM") != "dumb" {
		c.palette.on = o.Getenv("NO_COLOR") == "" && IsTerminal(c.results)
		if o.Getenv("CI") == "" && !o.Quiet {
			c.width = func() int {
				if width, _, err := xterm.GetSize(int(o.Err.(*os.File).Fd())); err == nil && width > 0 {
					return width
				}
				return 80
			}
			interval, show = 100*time.Millisecond, c.redraw
		}
	}
	if !o.Quiet {
		c.stop, c.done = make(chan struct{}), make(chan struct{})
		go c.every(interval, show)
	}
	return c
}

// IsTerminal reports whether v is a file that is a terminal.
func IsTerminal(v any) bool {
	file, ok := v.(*os.File)
	return ok && xterm.IsTerminal(int(file.Fd()))
}

// Close removes the redrawn lines. The console shows nothing afterwards.
func (c *Console) Close() {
	if c.stop == nil {
		return
	}
	close(c.stop)
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
}

// every calls show at an interval until the console is closed.
func (c *Console) every(interval time.Duration, show func()) {
	defer close(c.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
			c.mu.Lock()
			show()
			c.mu.Unlock()
		}
	}
}

// redraw updates the lines of running tasks.
func (c *Console) redraw() {
	c.erase()
	c.draw()
}

// log prints the running tasks with progress since the last time, where lines cannot be
// redrawn. A shorter task is reported by its result.
func (c *Console) log() {
	for _, t := range c.tasks {
		line := strings.TrimRight(c.progress(t), " ")
		if t.shown && line != t.logged {
			t.logged = line
			c.print(c.w, "  %s  %s", line, seconds(time.Since(t.started)))
		}
	}
}

// Columns sets the widths of the columns by the names of the apps and targets, so that
// all lines of a release are aligned from the first on.
func (c *Console) Columns(apps []protocol.AppSpec, targets []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, app := range apps {
		c.appWidth = max(c.appWidth, len(app.Name))
	}
	for _, target := range targets {
		c.stepWidth = max(c.stepWidth, len(stepName("deploy", target)))
	}
}

// Event shows progress. Where lines cannot be redrawn, a step of a build is printed
// immediately.
func (c *Console) Event(e protocol.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.task(e.Name, e.Stage, e.Target)
	if e.Phase == protocol.PhaseExplain {
		if !c.quiet {
			c.print(c.w, "  %s  %s", c.label(t), e.Message)
		}
		return
	}
	t.event, t.shown = e, e.Phase != protocol.PhaseEnd
	t.told = t.told || !t.shown || e.Phase == protocol.PhaseStart
	if e.Phase == protocol.PhaseStep && c.width == nil && !c.quiet {
		t.logged = strings.TrimRight(c.progress(t), " ")
		c.print(c.w, "  %s", t.logged)
	}
}

// Result shows the result of a stage for an app.
func (c *Console) Result(s protocol.Spec, stage, target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.task(s.Identity().Name, stage, target)
	result, _ := s.(protocol.DeployResult)
	if result.Cluster == "" { // else the deploy to the other clusters continues
		t.shown = t.shown && t.told
	}
	if c.quiet && c.results == c.w {
		return
	}
	report, _ := s.(protocol.SmokeReport)
	mark := c.mark(s)
	c.print(c.results, "%s %s  %s  %s", mark, c.label(t), Describe(s), c.palette.dim(seconds(time.Since(t.started))))
	for _, check := range report.Checks {
		c.print(c.results, "    %s %s", checkMark(c.palette, check.Status), checkLine(check))
	}
}

// mark says at a glance how a result is.
func (c *Console) mark(s protocol.Spec) coloured {
	failed, other := false, false
	switch s := s.(type) {
	case protocol.SmokeReport:
		failed = !s.Passed && !s.Planned
	case protocol.MigrationReport:
		failed = !s.Passed
	case protocol.DeployResult:
		failed = s.Outcome == protocol.OutcomeFailed && !s.Planned
		other = !s.Planned && (!s.Outcome.Delivered() || s.Outcome == protocol.OutcomePublished)
	}
	switch {
	case failed:
		return c.palette.red("✗")
	case other:
		return c.palette.yellow("-")
	}
	return c.palette.green("✔")
}

// Failure shows a failure and its hint.
func (c *Console) Failure(f protocol.Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.task(f.Name, f.Stage, f.Target)
	t.shown = false
	label := strings.TrimSpace(c.label(t))
	if label != "" {
		label += ": "
	}
	c.print(c.w, "%s %s%s", c.palette.red("✗"), label, f.Message)
	if f.Hint != "" {
		c.print(c.w, "  %s %s", c.palette.bold("hint:"), f.Hint)
	}
	if c.actions {
		fmt.Fprintf(c.w, "::error title=%s::%s\n", property("harmony "+f.Stage+" "+f.Name), annotation(f.Message))
	}
}

// Error shows an error that belongs to no app.
func (c *Console) Error(err error) {
	c.Failure(protocol.FailureOf(protocol.Metadata{}, "", "", err))
}

// Line shows one line that stays.
func (c *Console) Line(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.quiet {
		c.print(c.w, format, args...)
	}
}

func (c *Console) task(app, stage, target string) *task {
	app, stage, target = OneLine(app), OneLine(stage), OneLine(target)
	for _, t := range c.tasks {
		if t.app == app && t.stage == stage && t.target == target {
			return t
		}
	}
	t := &task{app: app, stage: stage, target: target, started: time.Now()}
	c.tasks = append(c.tasks, t)
	return t
}

// print writes a line above the redrawn ones; further lines of its arguments are
// indented. Arguments are cleaned, except those that the palette coloured.
func (c *Console) print(w io.Writer, format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(Clean(text), "\n", "\n    ")
		}
	}
	c.erase()
	fmt.Fprintln(w, plain.Harmless(fmt.Sprintf(format, args...)))
	c.draw()
}

func (c *Console) erase() {
	if c.drawn > 0 {
		fmt.Fprintf(c.w, "\x1b[%dA\x1b[J", c.drawn)
		c.drawn = 0
	}
}

func (c *Console) draw() {
	if c.width == nil || c.quiet {
		return
	}
	width := c.width()
	for _, t := range c.tasks {
		if !t.shown {
			continue
		}
		line := fmt.Sprintf("%s %s  %s", spinner(time.Since(t.started)), c.progress(t), seconds(time.Since(t.started)))
		fmt.Fprintln(c.w, plain.Harmless(cut(line, width-1)))
		c.drawn++
	}
}

// label is the app, the stage and the target of a task, padded to columns.
func (c *Console) label(t *task) string {
	for _, o := range c.tasks {
		c.appWidth, c.stepWidth = max(c.appWidth, len(o.app)), max(c.stepWidth, len(stepName(o.stage, o.target)))
	}
	return fmt.Sprintf("%-*s  %-*s", c.appWidth, t.app, c.stepWidth, stepName(t.stage, t.target))
}

func stepName(stage, target string) string {
	return strings.TrimSpace(stage + " " + target)
}

func (c *Console) progress(t *task) string {
	text := OneLine(t.event.Message)
	if text == "" && t.event.Phase != protocol.PhaseStart {
		text = OneLine(t.event.Phase)
	}
	if amount := amount(t.event); amount != "" {
		text += " " + OneLine(amount)
	}
	return fmt.Sprintf("%s  %s", c.label(t), text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func spinner(d time.Duration) string {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	return string(frames[int(d/(100*time.Millisecond))%len(frames)])
}

// cut shortens a line without escapes to a number of characters.
func cut(line string, width int) string {
	runes := []rune(line)
	if width <= 0 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// Summary shows the end of a release.
func (c *Console) Summary(topology string, apps []protocol.AppSpec, code int, took time.Duration) {
	names := make([]string, len(apps))
	for i, app := range apps {
		names[i] = app.Name + " " + app.Version
	}
	verb := c.palette.bold("released")
	if code != protocol.ExitOK {
		verb = c.palette.red(fmt.Sprintf("not all released (exit status %d):", code))
	}
	c.Line("%s %s by topology %s in %s", verb, strings.Join(names, ", "), topology, seconds(took))
}
