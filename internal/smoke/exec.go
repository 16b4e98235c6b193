package smoke

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxOutput is how much of the end of a program's output is kept.
const maxOutput = 8 << 10

// execProbe runs a program of the user's.
type execProbe struct {
	command   []string
	dir       string
	env       []string
	documents []byte
}

func newExecProbe(s scene, check protocol.ExecCheck) (probe, error) {
	p := execProbe{command: append([]string{}, check.Command...), dir: s.app.ProjectRoot}
	program := check.Command[0]
	if strings.Contains(program, "/") {
		program = filepath.Join(p.dir, program)
	}
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, protocol.Unsupported("app %s: exec.command: %w", s.app.Name, err)
	}
	p.command[0] = path
	var documents bytes.Buffer
	w := protocol.NewWriter(&documents)
	if err := errors.Join(w.WriteSpec(s.topology), w.WriteSpec(s.app)); err != nil {
		return nil, err
	}
	p.documents = documents.Bytes()
	p.env = append(process.Environ(), "HARMONY_APP="+s.app.Name, "HARMONY_VERSION="+s.app.Version, "HARMONY_TARGET="+s.target)
	context, namespace := "", ""
	if s.cluster != nil {
		context, namespace = s.cluster.Context, s.cluster.Namespace
	}
	p.env = append(p.env, "HARMONY_CONTEXT="+context, "HARMONY_NAMESPACE="+namespace)
	return p, nil
}

func (p execProbe) attempt(ctx context.Context) (string, error) {
	output := &process.Tail{Limit: maxOutput}
	child, err := process.Start(ctx, process.Command{Args: p.command, Dir: p.dir, Env: p.env, Stdin: bytes.NewReader(p.documents), Stdout: output, Stderr: output})
	if err != nil {
		return "", err
	}
	err = child.Wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	said := lastOf(output.Bytes())
	switch {
	case err == nil:
		return said, nil
	case said == "":
		return "", fmt.Errorf("%s: %w", filepath.Base(p.command[0]), err)
	}
	return "", fmt.Errorf("%s: %w: %s", filepath.Base(p.command[0]), err, said)
}
