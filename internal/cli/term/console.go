// Package term is everything that a person sees: progress, results, failures,
// colour, tables, and the annotations of CI systems. It writes to stderr; stdout
// belongs to documents and to what a command was asked to print.
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

// Console shows a run to a person. On a terminal the work under way stands in
// lines that are redrawn; elsewhere each change of phase is one plain line.
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
	// appWidth and stepWidth are those of the columns, at the least.
	appWidth, stepWidth int
	stop                chan struct{}
	done                chan struct{}
}

// task is the work of one stage on one app.
type task struct {
	app, stage, target string
	started            time.Time
	event              protocol.Event
	// shown while the work is under way. A stage that tells the start and the
	// end of its work decides that alone: results come on another channel, and
	// may overtake its events.
	shown, told bool
	logged      string
}

// Options say where a console shows what.
type Options struct {
	// Err gets progress and failures: stderr.
	Err io.Writer
	// Results gets the lines that tell results; Err when nil.
	Results io.Writer
	// Getenv is asked for NO_COLOR, TERM and the marks of CI systems.
	Getenv func(string) string
	// Quiet leaves progress out, and results unless they have a writer of their
	// own.
	Quiet bool
}

// New opens a console; it is to be closed.
func New(o Options) *Console {
	c := &Console{
		w: o.Err, results: o.Results, quiet: o.Quiet,
		actions: o.Getenv("GITHUB_ACTIONS") == "true" && o.Getenv("GITEA_ACTIONS") != "true",
	}
	if c.results == nil {
		c.results = c.w
	}
	if !o.Quiet {
		c.stop, c.done = make(chan struct{}), make(chan struct{})
	}
	file, ok := o.Err.(*os.File)
	if !ok || !xterm.IsTerminal(int(file.Fd())) {
		c.start(time.Second, c.log)
		return c
	}
	c.palette = palette{on: o.Getenv("NO_COLOR") == "" && o.Getenv("TERM") != "dumb" && IsTerminal(c.results)}
	if o.Getenv("CI") == "" && o.Getenv("TERM") != "dumb" && !o.Quiet {
		c.width = func() int {
			if width, _, err := xterm.GetSize(int(file.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}
		c.start(100*time.Millisecond, c.redraw)
	} else {
		c.start(time.Second, c.log)
	}
	return c
}

func (c *Console) start(interval time.Duration, show func()) {
	if c.stop != nil {
		go c.every(interval, show)
	}
}

// IsTerminal reports whether v is a file that is a terminal.
func IsTerminal(v any) bool {
	file, ok := v.(*os.File)
	return ok && xterm.IsTerminal(int(file.Fd()))
}

// Close takes the redrawn lines away. The console shows nothing afterwards.
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

// redraw keeps the lines of the work under way moving.
func (c *Console) redraw() {
	c.erase()
	c.draw()
}

// log prints the work under way that has gone on since the last time, where
// lines cannot be redrawn: what is over sooner is told by its result.
func (c *Console) log() {
	for _, t := range c.tasks {
		line := strings.TrimRight(c.progress(t), " ")
		if t.shown && line != t.logged {
			t.logged = line
			c.print(c.w, "  %s  %s", line, seconds(time.Since(t.started)))
		}
	}
}

// Columns makes room for the names of the apps and of the steps to the targets,
// so that all lines of a release stand in columns from the first on.
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

// Event shows progress. Where lines cannot be redrawn, a step of a build is told
// at once, in a line of its own.
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

// Result shows the end of a stage's work on an app.
func (c *Console) Result(s protocol.Spec, stage, target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.task(s.Identity().Name, stage, target)
	if result, ok := s.(protocol.DeployResult); !ok || result.Cluster == "" { // else the work on the others goes on
		t.shown = t.shown && t.told
	}
	if c.quiet && c.results == c.w {
		return
	}
	mark := c.palette.green("✔")
	if report, ok := s.(protocol.SmokeReport); ok && !report.Passed && !report.Planned {
		mark = c.palette.red("✗")
	}
	if result, ok := s.(protocol.DeployResult); ok && (!result.Outcome.Delivered() || result.Outcome == protocol.OutcomePublished) && !result.Planned {
		mark = c.palette.yellow("-")
		if result.Outcome == protocol.OutcomeFailed {
			mark = c.palette.red("✗")
		}
	}
	c.print(c.results, "%s %s  %s  %s", mark, c.label(t), Describe(s), c.palette.dim(seconds(time.Since(t.started))))
	if report, ok := s.(protocol.SmokeReport); ok {
		for _, check := range report.Checks {
			c.print(c.results, "    %s %s", checkMark(c.palette, check.Status), checkLine(check))
		}
	}
}

// Failure shows a failure, its message indented below, and its hint.
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

// print writes a line above those that are redrawn, and the further lines of
// what is in it indented. Only what the palette coloured is left as it is.
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

// label is the app, the stage and the target of a task, padded so that the
// lines of a run stand in columns.
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
	if amount := Amount(t.event); amount != "" {
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

// Summary tells how a release ended.
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
