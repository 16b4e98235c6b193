package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Code that fits on a screen: 99 of 100 functions have at most 40 lines, and no
// file has more than 350.
func TestSizes(t *testing.T) {
	const maxFunction, maxFile = 40, 350
	var functions []int
	for _, root := range []string{"../cmd", "../pkg", "../internal"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			if lines := set.File(file.Pos()).LineCount(); lines > maxFile {
				t.Errorf("%s has %d lines, at most %d", path, lines, maxFile)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					functions = append(functions, set.Position(f.End()).Line-set.Position(f.Pos()).Line+1)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(functions)
	if len(functions) < 1000 {
		t.Fatalf("only %d functions were found", len(functions))
	}
	if p99 := functions[len(functions)*99/100]; p99 > maxFunction {
		t.Errorf("the 99th percentile of %d functions has %d lines, want at most %d", len(functions), p99, maxFunction)
	}
}
