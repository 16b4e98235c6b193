package buildable

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/build/inputs"
)

// goModFile is the output of `go mod edit -json` and `go work edit -json`.
type goModFile struct {
	Use     []struct{ DiskPath string }
	Replace []struct{ New struct{ Path string } }
}

// module notes what chooses the versions of a module's dependencies: go.mod and
// go.sum, what is vendored, and the modules on disk that it is replaced with.
func (s *surveyor) module(ctx context.Context, name, file string) error {
	if !s.once("module " + file) {
		return nil
	}
	dir := filepath.Dir(file)
	// A replacement that no package needs may be missing.
	if exists, err := s.notes.Exists(file); err != nil || !exists {
		return err
	}
	err := s.optional(inputs.File, name+"/", file, filepath.Join(dir, "go.sum"), filepath.Join(dir, "vendor", "modules.txt"))
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(data, []byte("=>")) {
		return err // replaces nothing
	}
	return s.neighbours(ctx, dir, "mod", "edit", "-json", file)
}

// neighbours notes the modules on disk that a go.mod or go.work names.
func (s *surveyor) neighbours(ctx context.Context, dir string, args ...string) error {
	out, err := s.ask(ctx, s.options.Platforms[0], args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", args[len(args)-1], err)
	}
	var file goModFile
	if err := json.Unmarshal(out, &file); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	var paths []string
	for _, use := range file.Use {
		paths = append(paths, use.DiskPath)
	}
	for _, replace := range file.Replace {
		if p := replace.New.Path; strings.HasPrefix(p, "./") || strings.HasPrefix(p, "../") || filepath.IsAbs(p) {
			paths = append(paths, p)
		}
	}
	for _, p := range paths {
		target := filepath.FromSlash(p)
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		name, err := filepath.Rel(s.root, target)
		if err != nil {
			return err
		}
		if err := s.module(ctx, filepath.ToSlash(name), filepath.Join(target, "go.mod")); err != nil {
			return err
		}
	}
	return nil
}

// workspace notes the go.work in force, and every place where one could be put.
func (s *surveyor) workspace(ctx context.Context) error {
	for dir := s.directory(); ; dir = filepath.Dir(dir) {
		if _, err := s.notes.Exists(filepath.Join(dir, "go.work")); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	work := s.env.GOWORK
	if work == "" || work == "off" {
		return nil
	}
	dir := filepath.Dir(work)
	if err := s.optional("workspace", "", work, work+".sum", filepath.Join(dir, "vendor", "modules.txt")); err != nil {
		return err
	}
	return s.neighbours(ctx, dir, "work", "edit", "-json", work)
}
