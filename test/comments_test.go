package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What a third party reads says what it is: every exported declaration, field and
// method of the public packages has a comment.
func TestPublicPackagesAreCommented(t *testing.T) {
	files := token.NewFileSet()
	err := filepath.WalkDir("../pkg", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		missing := func(n ast.Node, name string) { t.Errorf("%s: %s has no comment", files.Position(n.Pos()), name) }
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && !isPrivate(d.Recv) {
					missing(d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
						if d.Doc == nil && s.Doc == nil {
							missing(s, s.Name.Name)
						}
						commented(s.Type, missing)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// commented looks at the fields of a struct and the methods of an interface.
func commented(of ast.Expr, missing func(ast.Node, string)) {
	var list []*ast.Field
	switch of := of.(type) {
	case *ast.StructType:
		list = of.Fields.List
	case *ast.InterfaceType:
		list = of.Methods.List
	}
	for _, f := range list {
		for _, name := range f.Names {
			if name.IsExported() && f.Doc == nil && f.Comment == nil {
				missing(f, name.Name)
			}
		}
	}
}

// isPrivate reports a method of a type that is not exported.
func isPrivate(receiver *ast.FieldList) bool {
	if receiver == nil {
		return false
	}
	of := receiver.List[0].Type
	for {
		switch t := of.(type) {
		case *ast.StarExpr:
			of = t.X
		case *ast.IndexExpr:
			of = t.X
		case *ast.Ident:
			return !t.IsExported()
		default:
			return false
		}
	}
}
