// Package builder asks an app plugin for the chart of an app.
//
// The plugin is run as
//
//	harmony-NAME chart --output DIR
//
// with the AppSpec and the ImageRef on stdin. It writes the chart into a folder
// below DIR, and answers on stdout with one ChartRef whose path is that folder;
// or with a Failure. What it answers is only where the chart is: version and
// digest are those of whoever packages it.
package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/discovery"
	"github.com/nationtech/harmony/internal/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// deadline bounds an answer, and grace how long a plugin may take to end when
	// it is told to.
	deadline = time.Minute
	grace    = 2 * time.Second
	// maxOutput bounds what a plugin may write to stdout and to stderr each.
	maxOutput = 2 * protocol.MaxDocument
	// maxShown is how much of stderr is told, in bytes.
	maxShown = 2000
)

// Ask has the app's plugin make the chart, and hands its folder to take, which
// must read it at once: it is gone when Ask returns. ref is the plugin's answer.
func Ask(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, take func(dir string, ref protocol.ChartRef) error) error {
	plugin, err := find(ctx, app)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "harmony-chart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ref, err := ask(ctx, plugin, dir, app, image, deadline)
	if err != nil {
		return about(plugin, err)
	}
	made, err := within(dir, ref.Path)
	if err != nil {
		return about(plugin, err)
	}
	return take(made, ref)
}

// about says which plugin an error is of.
func about(p discovery.Plugin, err error) error {
	return &protocol.Error{Code: protocol.ExitCode(err), Hint: protocol.HintOf(err), Err: fmt.Errorf("chart by plugin %s: %w", p.Path, err)}
}

// find is the plugin that the app names, or the one that offers the app.
func find(ctx context.Context, app protocol.AppSpec) (discovery.Plugin, error) {
	finder := discovery.Finder{Path: os.Getenv("PATH"), UID: os.Getuid()}
	if name := app.Chart.Builder.Plugin; name != "" {
		return finder.Find(strings.TrimPrefix(name, discovery.Prefix))
	}
	describer := discovery.Describer{}
	if cache, err := os.UserCacheDir(); err == nil {
		describer.Cache = filepath.Join(cache, "harmony", "describe")
	}
	var found []discovery.Plugin
	for _, p := range finder.List() {
		if p.Refused != "" || p.Shadowed != "" {
			continue
		}
		// A plugin that does not answer offers nothing.
		if info, err := describer.Describe(ctx, p); err == nil && slices.Contains(info.Apps, app.Name) {
			found = append(found, p)
		}
	}
	switch {
	case ctx.Err() != nil:
		return discovery.Plugin{}, ctx.Err()
	case len(found) == 0:
		return discovery.Plugin{}, protocol.Unsupported("chart of %s: no app plugin on PATH offers %[1]s", app.Name).
			WithHint("name it in spec.chart.builder.plugin; 'harmony plugin list' shows the plugins on PATH, also those that are refused")
	case len(found) > 1:
		return discovery.Plugin{}, protocol.Invalid("chart of %s: both %s and %s offer it", app.Name, found[0].Path, found[1].Path).
			WithHint("name one in spec.chart.builder.plugin")
	}
	return found[0], nil
}

// ask runs the plugin and reads its answer.
func ask(ctx context.Context, p discovery.Plugin, dir string, app protocol.AppSpec, image protocol.ImageRef, deadline time.Duration) (protocol.ChartRef, error) {
	var input bytes.Buffer
	writer := protocol.NewWriter(&input)
	if err := errors.Join(writer.WriteSpec(app), writer.WriteSpec(image)); err != nil {
		return protocol.ChartRef{}, err
	}
	limited, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(limited, p.Path, "chart", "--output", dir)
	stdout, stderr := &capped{}, &capped{}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = app.ProjectRoot, &input, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if cmd.Process != nil {
		// What it started and left is ended too; there may be none.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	switch {
	case ctx.Err() != nil:
		return protocol.ChartRef{}, ctx.Err()
	case limited.Err() != nil:
		return protocol.ChartRef{}, fmt.Errorf("no answer within %s", deadline)
	case stdout.over || stderr.over:
		return protocol.ChartRef{}, fmt.Errorf("it wrote more than %d bytes", maxOutput)
	}
	return answer(stdout.text, stderr.shown(), err)
}

// answer is the last ChartRef on the plugin's stdout.
func answer(text []byte, told string, failed error) (protocol.ChartRef, error) {
	var found *protocol.ChartRef
	reader := protocol.NewReader(bytes.NewReader(text))
	for {
		document, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return protocol.ChartRef{}, fmt.Errorf("its answer: %s%s", term.Clean(err.Error()), told)
		}
		switch {
		case !document.Known():
		case document.Kind == protocol.KindFailure:
			failure, err := protocol.Decode[protocol.Failure](document)
			if err != nil {
				return protocol.ChartRef{}, err
			}
			failure.Message, failure.Hint = term.Clean(failure.Message), term.Clean(failure.Hint)
			return protocol.ChartRef{}, failure.Err()
		case document.Kind == protocol.KindChartRef:
			ref, err := protocol.Decode[protocol.ChartRef](document)
			if err != nil {
				return protocol.ChartRef{}, err
			}
			found = &ref
		}
	}
	switch {
	case failed != nil:
		return protocol.ChartRef{}, fmt.Errorf("%w%s", failed, told)
	case found == nil:
		return protocol.ChartRef{}, fmt.Errorf("it answered without a ChartRef%s", told)
	}
	return *found, nil
}

// within is the folder that the plugin answered with. It is one below dir, with
// links followed.
func within(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	made, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("its chart: %w", err)
	}
	if relative, err := filepath.Rel(root, made); err != nil || !filepath.IsLocal(relative) {
		return "", protocol.Invalid("its chart %q is not in the folder that it was given", term.Clean(path))
	}
	return made, nil
}

// capped keeps what is written up to maxOutput; more is an error, which ends
// the plugin.
type capped struct {
	text []byte
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.over = c.over || len(c.text)+len(p) > maxOutput; c.over {
		return 0, errors.New("too much output")
	}
	c.text = append(c.text, p...)
	return len(p), nil
}

// shown is the end of the text, to come after a message.
func (c *capped) shown() string {
	text := strings.TrimSpace(term.Clean(strings.ToValidUTF8(string(c.text), "")))
	if len(text) > maxShown {
		text = "…" + strings.ToValidUTF8(text[len(text)-maxShown:], "")
	}
	if text == "" {
		return ""
	}
	return ":\n" + text
}
