package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ofOthers are the plugins that documents take as examples of what others write.
var ofOthers = []string{"NAME", "announce", "fleet", "smoke-acme", "spinnaker"}

// documentedCommands fails for a command in a document, a script or the help that
// harmony does not have, or that does not take its flags. The binaries in the folder
// read the command line as they always do, but are asked for help only.
func documentedCommands(t *testing.T, folder string) {
	waiting := documented(t)
	t.Chdir(t.TempDir())
	t.Setenv("PATH", folder)
	t.Setenv("HOME", t.TempDir())
	seen := map[string]bool{}
	for len(waiting) > 0 {
		next := waiting[0]
		waiting = waiting[1:]
		key := strings.Join(next.args, " ")
		if len(next.args) == 0 || seen[key] || slices.Contains(ofOthers, next.args[0]) || strings.HasPrefix(next.args[0], "harmony-") {
			continue
		}
		seen[key] = true
		help, err := next.help(filepath.Join(folder, "harmony"))
		if err != nil {
			t.Errorf("%s: harmony %s: %v", next.where, key, err)
			continue
		}
		if _, examples, found := strings.Cut(help, "\nExamples:\n"); found {
			examples, _, _ = strings.Cut(examples, "\nFlags:")
			waiting = append(waiting, commandsIn("the help of harmony "+key, examples)...)
		}
	}
	if len(seen) < 150 {
		t.Errorf("only %d commands were found", len(seen))
	}
}

// command is a command line of harmony, without its name.
type command struct {
	where string
	args  []string
}

// help asks for the help of the command with its flags, and fails if it has none.
func (c command) help(harmony string) (string, error) {
	first := slices.IndexFunc(c.args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if first < 0 {
		first = len(c.args)
	}
	words := c.args[:first]
	out, err := exec.Command(harmony, slices.Insert(slices.Clone(c.args), first, "--help")...).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("flag needs an argument")) { // a text names the flag alone
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	usage := regexp.MustCompile(`(?m)^Usage:\n  harmony(.*?)( \[(?:flags|command)\])?$`).FindSubmatch(out)
	if err == nil && usage == nil {
		return "", fmt.Errorf("it has no help:\n%s", out)
	}
	if err != nil || regexp.MustCompile(`[A-Z]`).Match(usage[1]) {
		return string(out), nil // it takes arguments
	}
	if path := strings.Fields(strings.ReplaceAll(string(usage[1]), "-", " ")); len(words) > len(path) {
		return "", errors.New("harmony " + strings.Join(path, " ") + " has no such command, and takes no argument")
	}
	return string(out), nil
}

// documented are the commands in the documents and the scripts of the repository.
func documented(t *testing.T) []command {
	t.Helper()
	var all []command
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if name := entry.Name(); name == ".git" || name == "testdata" || name == "node_modules" || name == "bin" {
				return fs.SkipDir
			}
			return err
		}
		switch filepath.Ext(path) {
		case ".md", ".sh", ".yaml", ".yml":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		code := string(text)
		if filepath.Ext(path) == ".md" {
			code = codeOf(code)
		}
		all = append(all, commandsIn(strings.TrimPrefix(path, "../"), code)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var span = regexp.MustCompile("`(harmony [^`]+)`")

// codeOf is the code in a document: blocks, and what stands in a line of text.
func codeOf(document string) string {
	var code strings.Builder
	fenced := false
	for line := range strings.Lines(document) {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			code.WriteString(line)
		default:
			for _, found := range span.FindAllStringSubmatch(line, -1) {
				code.WriteString(found[1] + "\n")
			}
		}
	}
	return code.String()
}

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	comment   = regexp.MustCompile(`(^|\s)#.*`)
	word      = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s;&|()<>"'])+|[;&|()<>]`)
	// before a command may stand what a shell, a step of a workflow and the demo put there.
	before = regexp.MustCompile(`^([;&|(<>!$-]|\w+=.*|run:?|if|then|do|else|time|exec)$`)
)

// commandsIn are the commands of harmony in lines for a shell.
func commandsIn(where, code string) []command {
	var all []command
	for line := range strings.Lines(continued.ReplaceAllString(code, " ")) {
		words := word.FindAllString(comment.ReplaceAllString(strings.TrimSpace(line), ""), -1)
		for i, w := range words {
			if strings.Contains(w, "harmony ") { // in quotes
				all = append(all, commandsIn(where, strings.Trim(w, `"'`))...)
			}
			if w != "harmony" || i > 0 && !before.MatchString(words[i-1]) {
				continue
			}
			c := command{where: where}
			for _, arg := range words[i+1:] {
				if strings.ContainsAny(arg[:1], ";&|()<>") {
					break
				}
				if arg = strings.Trim(arg, `"'[]…`); arg != "" {
					c.args = append(c.args, arg)
				}
			}
			all = append(all, c)
		}
	}
	return all
}
