package buildable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// external is an executable harmony-buildable-NAME. Its answer is remembered while its
// inputs are unchanged.
type external struct {
	options  Options
	program  program
	document []byte // what it gets on stdin
	memory   string // path of the files in the memory, without extension
	digests  *inputs.Digests

	answer answer
	folder string   // that has the context of the answer; empty when it was remembered
	made   []string // folders to remove
}

// answer is what is remembered.
type answer struct {
	Context dockerfile.Context `json:"context"`
	Items   []inputs.Item      `json:"items"`
}

func openExternal(o Options) (Source, error) {
	p, err := o.find()
	if err != nil {
		return nil, err
	}
	app := o.App
	app.Image.Platforms = ocilayout.PlatformStrings(o.Platforms)
	document, err := protocol.Encode(app)
	if err != nil {
		return nil, err
	}
	key := digest.FromString(fmt.Sprintf("%q %d %s", p.path, o.Created.Unix(), document.Bytes())).Encoded()
	memory := filepath.Join(o.Memory, "external-"+key[:32])
	return &external{
		options: o, program: p, document: append(document.Bytes(), '\n'), memory: memory,
		digests: inputs.OpenDigests(memory + ".digests"),
	}, nil
}

func (e *external) Inputs(ctx context.Context) (dockerfile.Context, []inputs.Item, error) {
	trace, err := inputs.LoadTrace(e.memory + ".trace")
	var known answer
	if err == nil && json.Unmarshal([]byte(trace.Answer), &known) == nil && len(known.Context.Text) > 0 && trace.Holds(e.digests) {
		if inputs.Digest(known.Items) != inputs.Digest(e.answer.Items) {
			e.folder = ""
		}
		e.answer = known
		e.digests.Save()
		return known.Context, known.Items, nil
	}
	if err := os.MkdirAll(e.options.Memory, 0o700); err != nil {
		return dockerfile.Context{}, nil, err
	}
	dir, err := os.MkdirTemp(e.options.Memory, ".context-*")
	if err != nil {
		return dockerfile.Context{}, nil, err
	}
	e.made = append(e.made, dir)
	if e.answer, err = e.run(ctx, dir); err != nil {
		return dockerfile.Context{}, nil, err
	}
	e.folder = dir
	e.digests.Save()
	return e.answer.Context, e.answer.Items, nil
}

// Context implements [Source]. A context that Inputs had made is not made again.
func (e *external) Context(ctx context.Context, dir string) (dockerfile.Context, error) {
	if e.folder != "" {
		return placed(e.answer.Context, e.folder), nil
	}
	now, err := e.run(ctx, dir)
	if err != nil {
		return dockerfile.Context{}, err
	}
	if inputs.Digest(now.Items) != inputs.Digest(e.answer.Items) || string(now.Context.Text) != string(e.answer.Context.Text) {
		return dockerfile.Context{}, errors.Join(fmt.Errorf("%s wrote a different context for the same inputs", e.program.name), os.Remove(e.memory+".trace"))
	}
	return placed(now.Context, dir), nil
}

// placed is a context in the folder that it was written into.
func placed(c dockerfile.Context, dir string) dockerfile.Context {
	c.Dir, c.Dockerfile = filepath.Join(dir, c.Dir), filepath.Join(dir, c.Dockerfile)
	return c
}

// Close removes what was made.
func (e *external) Close() error {
	var errs []error
	for _, dir := range e.made {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// run has the executable fill the folder, and reads what it wrote. The paths of the
// answer's context are relative to the folder.
func (e *external) run(ctx context.Context, dir string) (answer, error) {
	start := time.Now()
	said, err := e.program.run(ctx, e.options, e.document, dir)
	if err != nil {
		return answer{}, err
	}
	a, err := e.read(ctx, said, dir)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", e.program.name, err)
	}
	return a, e.remember(a, said.Inputs, start)
}

// read reads what was written.
func (e *external) read(ctx context.Context, said protocol.BuildContext, dir string) (answer, error) {
	c := dockerfile.Context{Target: said.Target, Args: said.Args, Dir: said.Context, Dockerfile: said.Dockerfile}
	c.Dir = cmp.Or(c.Dir, ".")
	c.Dockerfile = cmp.Or(c.Dockerfile, filepath.Join(c.Dir, dockerfileName))
	for _, part := range [][2]string{{"context", c.Dir}, {"dockerfile", c.Dockerfile}} {
		if err := inside(dir, part[1]); err != nil {
			return answer{}, protocol.Invalid("the %s %q of its answer %w", part[0], part[1], err)
		}
	}
	c.Name = e.program.name + ": " + c.Dockerfile
	now := placed(c, dir)
	var err error
	if c.Text, err = dockerfile.Read(now.Dockerfile, c.Name); err != nil {
		return answer{}, err
	}
	items, err := e.list(ctx, now)
	return answer{c, items}, err
}

// inside refuses a path that is not in the folder, or leads out of it by links.
func inside(dir, path string) error {
	if !filepath.IsLocal(path) {
		return errors.New("is not in the folder that it was given")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	switch _, err := root.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case err != nil:
		return fmt.Errorf("leads out of the folder that it was given: %w", err)
	}
	return nil
}

func (e *external) list(ctx context.Context, c dockerfile.Context) ([]inputs.Item, error) {
	root, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// The folder is another one each time: nothing of it is worth remembering.
	_, items, err := entries(ctx, root, inputs.OpenDigests(filepath.Join(c.Dir, "no-memory")))
	return items, err
}

// remember keeps the answer with its inputs, if the executable lists them.
func (e *external) remember(a answer, paths []string, start time.Time) error {
	if len(paths) == 0 {
		return nil
	}
	notes := &inputs.Trace{}
	if _, err := notes.File(e.digests, e.program.path); err != nil {
		return err
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.options.App.ProjectRoot, path)
		}
		whole, err := note(notes, e.digests, path)
		if err != nil {
			return fmt.Errorf("%s: input: %w", e.program.name, err)
		}
		if !whole {
			return nil
		}
	}
	if !notes.SettledBefore(start) {
		return nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	notes.Answer = string(text)
	return notes.Save(e.memory + ".trace")
}

// note notes a file, or everything in a folder. It is not whole if there is something
// that notes cannot describe, such as a link to a folder.
func note(notes *inputs.Trace, digests *inputs.Digests, path string) (whole bool, err error) {
	exists, err := notes.Exists(path)
	if err != nil || !exists {
		return err == nil, err
	}
	whole = true
	err = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return notes.Folder(path)
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			whole = false
			return nil
		}
		_, err = notes.File(digests, path)
		return err
	})
	return whole, err
}
