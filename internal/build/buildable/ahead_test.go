package buildable

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// built is a module that was built, and changed since.
func built(t *testing.T) (dir, memory string) {
	t.Helper()
	dir, memory = t.TempDir(), t.TempDir()
	write(t, dir, module)
	settle()
	if _, err := inputDigest(t.Context(), newGo(dir, memory)); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"near/near.go": "package near\n\nconst Name = \"changed\"\n"})
	settle()
	return dir, memory
}

// look lists the inputs and returns what is compiled ahead, when it is done.
func look(t *testing.T, g *golang) *ahead {
	t.Helper()
	if _, err := inputDigest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if g.ahead == nil {
		t.Fatal("nothing is compiled ahead")
	}
	t.Cleanup(func() { g.Close() })
	<-g.ahead.done
	return g.ahead
}

// programOf is the program that a context has.
func programOf(t *testing.T, g *golang) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := g.Context(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, programFolder, platformName(g.options.Platforms[0]))
}

// fresh is the program compiled without any memory.
func fresh(t *testing.T, dir string) []byte {
	t.Helper()
	g := newGo(dir, t.TempDir())
	if _, err := inputDigest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(programOf(t, g))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCompiledAhead(t *testing.T) {
	dir, memory := built(t)
	g := newGo(dir, memory)
	a := look(t, g)
	before, err := os.Stat(a.binary(g.options.Platforms[0]))
	if err != nil {
		t.Fatal(err)
	}
	path := programOf(t, g)
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("compiled again")
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(data, fresh(t, dir)) {
		t.Errorf("the program is another one than without compiling ahead, %v", err)
	}
}

// TestChangeAfterCompilingAhead changes a source after the compiler read it and
// before the survey that counts did.
func TestChangeAfterCompilingAhead(t *testing.T) {
	dir, memory := built(t)
	g := newGo(dir, memory)
	look(t, g)
	write(t, dir, map[string]string{"near/near.go": "package near\n\nconst Name = \"changed again\"\n"})
	settle()
	if _, err := inputDigest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(programOf(t, g))
	if err != nil || !bytes.Equal(data, fresh(t, dir)) {
		t.Errorf("an old program, %v", err)
	}
}

func TestCompilingAheadLeavesNothing(t *testing.T) {
	for name, dry := range map[string]bool{"closed": false, "dry run": true} {
		t.Run(name, func(t *testing.T) {
			dir, memory := built(t)
			g := newGo(dir, memory)
			g.options.DryRun = dry
			before, err := os.ReadDir(memory)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := inputDigest(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if started := g.ahead != nil; started == dry {
				t.Errorf("compiled ahead: %t", started)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadDir(memory)
			if err != nil || len(left) != len(before) {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

func TestFailureAhead(t *testing.T) {
	dir, memory := built(t)
	write(t, dir, map[string]string{"near/near.go": "package near\n\nconst Name = undefined\n"})
	settle()
	g := newGo(dir, memory)
	look(t, g)
	_, err := g.Context(t.Context(), t.TempDir())
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("undefined: undefined")) {
		t.Errorf("error %v", err)
	}
}

// TestCompiledAheadOfACommit compiles again when the linker's flags are others by now.
func TestCompiledAheadOfACommit(t *testing.T) {
	dir, memory := built(t)
	g := newGo(dir, memory)
	g.options.App.Image.Buildable.LDFlags = []string{"-buildid=first"}
	look(t, g)
	g.options.App.Image.Buildable.LDFlags = []string{"-buildid=second"}
	if _, err := inputDigest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(programOf(t, g))
	if err != nil || !bytes.Contains(program, []byte("Go\x00\x00second")) {
		t.Errorf("%v; the program was compiled with the flags of before", err)
	}
}
