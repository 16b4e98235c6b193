package scan

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// programs notes the Go main packages as images.
func (s *scanner) programs() {
	for _, folder := range s.packages {
		module, ok := s.moduleOf(folder)
		if !ok || slices.ContainsFunc(strings.Split(folder, "/"), isForDevelopers) {
			continue
		}
		main, line := s.goMain(folder)
		if main == nil {
			continue
		}
		image := Image{File: main.file, Line: line, Folder: module, origin: ofGo}
		if folder != "." {
			image.Name = path.Base(folder)
		}
		image.Source.Buildable = &protocol.Buildable{Type: "go"}
		if folder != "." {
			image.Source.Buildable.Main = "./" + folder
		}
		image.listensOn(*main)
		s.found.note(main.file, line, "a Go main package%s", describePorts(image.Workload.Ports))
		s.found.Unclear = append(s.found.Unclear, main.reads...)
		s.found.Images = append(s.found.Images, image)
	}
}

// moduleOf is the folder of the module of a package.
func (s *scanner) moduleOf(folder string) (string, bool) {
	for ; ; folder = path.Dir(folder) {
		if slices.Contains(s.modules, folder) {
			return folder, true
		}
		if folder == "." {
			return "", false
		}
	}
}

func describePorts(ports []protocol.WorkloadPort) string { return describeStage(stage{ports: ports}) }

// program is what can be seen in the source of a Go main package.
type program struct {
	file string
	// ports are those that it visibly listens on, with the line.
	ports map[int]int
	// reads are folders of the project that it visibly reads when it runs.
	reads []Note
}

// goMain reads a folder's Go files; nil when they are no main package. The line is that
// of func main.
func (s *scanner) goMain(folder string) (*program, int) {
	entries, err := fs.ReadDir(s.fsys, folder)
	if err != nil {
		return nil, 0
	}
	var main *program
	at, ports := 0, map[int]int{}
	var reads []Note
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !entry.Type().IsRegular() {
			continue
		}
		data, ok := s.read(name)
		if !ok {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil || file.Name.Name != "main" || isExcluded(file) {
			continue
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "main" {
				main, at = &program{file: name}, set.Position(f.Pos()).Line
			}
		}
		maps.Copy(ports, listens(set, file))
		reads = append(reads, s.folders(set, file, name, folder)...)
	}
	if main != nil {
		main.ports, main.reads = ports, reads
	}
	return main, at
}

// isExcluded reports whether a build constraint keeps a file out of a linux build.
func isExcluded(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if comment.Pos() > file.Package || !constraint.IsGoBuild(comment.Text) {
				continue
			}
			expr, err := constraint.Parse(comment.Text)
			return err == nil && !expr.Eval(func(tag string) bool {
				return tag == "linux" || tag == "unix" || tag == "amd64" || strings.HasPrefix(tag, "go1.")
			})
		}
	}
	return false
}

// listens are the ports in addresses such as ":8080" that a file gives to functions or
// fields that are about addresses, with their lines.
func listens(set *token.FileSet, file *ast.File) map[int]int {
	address := regexp.MustCompile(`^(?:0\.0\.0\.0|\[::\])?:(\d{2,5})$`)
	ports := map[int]int{}
	look := func(values ...ast.Expr) {
		for _, value := range values {
			literal, ok := value.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				continue
			}
			text, err := strconv.Unquote(literal.Value)
			if match := address.FindStringSubmatch(text); err == nil && match != nil {
				if port, err := strconv.Atoi(match[1]); err == nil && port > 0 && port <= 65535 {
					ports[port] = set.Position(literal.Pos()).Line
				}
			}
		}
	}
	called := strings.Fields("ListenAndServe ListenAndServeTLS Listen ListenTCP Run Start String StringVar Or")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains(called, f.Sel.Name) {
				look(n.Args...)
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && strings.HasSuffix(strings.ToLower(key.Name), "addr") {
				look(n.Value)
			}
		case *ast.ValueSpec:
			look(n.Values...)
		case *ast.AssignStmt:
			look(n.Rhs...)
		}
		return true
	})
	return ports
}

// folders are the folders and files of the project that a program opens by a plain
// relative name.
func (s *scanner) folders(set *token.FileSet, file *ast.File, name, folder string) (notes []Note) {
	called := strings.Fields("http.Dir os.DirFS os.ReadFile os.Open template.ParseFiles template.ParseGlob")
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		literal, isLiteral := call.Args[0].(*ast.BasicLit)
		if !ok || !isLiteral || literal.Kind != token.STRING {
			return true
		}
		on, _ := f.X.(*ast.Ident)
		opened, err := strconv.Unquote(literal.Value)
		if on == nil || err != nil || !slices.Contains(called, on.Name+"."+f.Sel.Name) {
			return true
		}
		if local, ok := within(".", opened); ok && (s.exists(path.Dir(local)) || s.exists(path.Join(folder, path.Dir(local)))) {
			notes = append(notes, Note{name, set.Position(n.Pos()).Line, fmt.Sprintf("the program reads %s when it runs; an image of the buildable go has only the program: embed it with go:embed, or write a Dockerfile", opened)})
		}
		return true
	})
	return notes
}

// listensOn takes the port that a program visibly listens on, if it is one.
func (i *Image) listensOn(p program) {
	switch ports := slices.Sorted(maps.Keys(p.ports)); {
	case len(ports) == 1:
		i.Workload.Ports = addPort(nil, ports[0], "")
	case len(ports) == 0:
		i.Open = append(i.Open, Note{p.file, 0, "no listen port was seen: add chart.workload.ports if the app listens"})
	default:
		i.Open = append(i.Open, Note{p.file, p.ports[ports[0]], fmt.Sprintf("several listen ports were seen (%s): add the app's to chart.workload.ports", strings.Trim(fmt.Sprint(ports), "[]"))})
	}
}

// sitePort is where the server of the buildable static listens.
const sitePort = 8080

// static notes folders with an index.html as images, the outermost ones.
func (s *scanner) static() {
	for _, folder := range s.sites {
		if folder != "." && slices.ContainsFunc(s.sites, func(outer string) bool {
			return outer == "." || strings.HasPrefix(folder, outer+"/")
		}) {
			continue
		}
		image := Image{File: path.Join(folder, "index.html"), Folder: folder, origin: ofStatic}
		image.Source.Buildable = &protocol.Buildable{Type: "static", Folder: folder}
		image.Workload.Ports = addPort(nil, sitePort, "")
		s.found.note(image.File, 0, "a folder of web pages")
		s.found.Images = append(s.found.Images, image)
	}
}
