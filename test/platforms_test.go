package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// The suite compiles for every platform that it is released for: all of it, and
// all that it links, passes the type checker there. make cross does it by the
// compiler, which takes ten minutes on a cold machine.
func TestSuiteIsGoodForEveryPlatform(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"} {
		t.Run(platform, func(t *testing.T) {
			system, machine, _ := strings.Cut(platform, "/")
			if system == runtime.GOOS && machine == runtime.GOARCH {
				return // it compiles: the other tests run it
			}
			loaded, err := packages.Load(&packages.Config{
				Context: t.Context(), Dir: root, Mode: packages.LoadAllSyntax,
				Env:       append(os.Environ(), "GOOS="+system, "GOARCH="+machine, "CGO_ENABLED=0"),
				ParseFile: declarations(root),
			}, "./cmd/...")
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			packages.Visit(loaded, nil, func(p *packages.Package) {
				seen++
				for _, e := range p.Errors {
					// The bodies that use them were left out.
					if !strings.HasPrefix(p.PkgPath, module) && strings.HasSuffix(e.Msg, "and not used") {
						continue
					}
					t.Errorf("%s: %v", p.PkgPath, e)
				}
			})
			if seen < 1000 {
				t.Errorf("only %d packages were looked at", seen)
			}
		})
	}
}

// declarations parses whole what is ours, and of the libraries all but the
// bodies of functions.
func declarations(root string) func(*token.FileSet, string, []byte) (*ast.File, error) {
	return func(set *token.FileSet, name string, text []byte) (*ast.File, error) {
		file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
		if err != nil || strings.HasPrefix(name, root+string(filepath.Separator)) {
			return file, err
		}
		for _, declared := range file.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
				f.Body.List = []ast.Stmt{&ast.ForStmt{Body: &ast.BlockStmt{}}} // returns whatever it has to
			}
		}
		return file, nil
	}
}
