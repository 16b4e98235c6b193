package owner_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/pkg/protocol"
)

const other = 3002

// entry is a file to make: "name/" is a folder, "name -> target" a link, in which
// % is the root of the tree.
type entry struct {
	name string
	mode fs.FileMode
	uid  int
}

// tree makes the entries below a new folder.
func tree(t *testing.T, entries ...entry) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range entries {
		name, target, link := strings.Cut(e.name, " -> ")
		path := filepath.Join(root, name)
		var err error
		switch {
		case link:
			err = os.Symlink(strings.ReplaceAll(target, "%", root), path)
		case strings.HasSuffix(name, "/"):
			err = errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, e.mode))
		default:
			err = errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, e.mode))
		}
		if err == nil && e.uid != 0 {
			if os.Getuid() != 0 {
				t.Skip("only root can give files away")
			}
			err = os.Lchown(path, e.uid, e.uid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheck(t *testing.T) {
	const sticky = fs.ModeSticky | 0o777
	for name, test := range map[string]struct {
		entries []entry
		// want is the error's text, %: the tree's own folder; hint its hint.
		want, hint string
	}{
		"own file":        {[]entry{{"a/", 0o755, 0}, {"a/f", 0o644, 0}}, "", ""},
		"file is open":    {[]entry{{"a/", 0o755, 0}, {"a/f", 0o646, 0}}, "%/a/f is writable by others (mode 0646)", "chmod o-w %/a/f"},
		"ancestor open":   {[]entry{{"x/", 0o777, 0}, {"x/a/", 0o755, 0}, {"x/a/f", 0o644, 0}, {"a -> x/a", 0, 0}}, "%/x is writable by others (mode 0777)", "%/x"},
		"sticky on way":   {[]entry{{"x/", sticky, 0}, {"x/a/", 0o755, 0}, {"x/a/f", 0o644, 0}, {"a -> x/a", 0, 0}}, "", ""},
		"sticky, foreign": {[]entry{{"x/", sticky, 0}, {"x/a/", 0o755, other}, {"x/a/f", 0o644, 0}, {"a -> x/a", 0, 0}}, "%/x/a belongs to user 3002", "chown"},
		"foreign file":    {[]entry{{"a/", 0o755, 0}, {"a/f", 0o644, other}}, "%/a/f belongs to user 3002, not to root or you", "chown"},
		"link between, foreign": {[]entry{{"x/", sticky, 0}, {"b/", 0o755, 0}, {"b/f", 0o644, 0}, {"x/l -> %/b/f", 0, other}, {"a/", 0o755, 0}, {"a/f -> %/x/l", 0, 0}},
			"%/x/l belongs to user 3002", "chown"},
		"link through open":   {[]entry{{"x/", 0o777, 0}, {"b/", 0o755, 0}, {"b/f", 0o644, 0}, {"x/l -> ../b/f", 0, 0}, {"a/", 0o755, 0}, {"a/f -> ../x/l", 0, 0}}, "%/x is writable", "%/x"},
		"linked folder":       {[]entry{{"b/", 0o755, 0}, {"b/f", 0o644, 0}, {"a -> b", 0, 0}}, "", ""},
		"dots after a link":   {[]entry{{"x/", 0o777, 0}, {"x/b/", 0o755, 0}, {"l -> x/b", 0, 0}, {"x/f", 0o644, 0}, {"a/", 0o755, 0}, {"a/f -> ../l/../f", 0, 0}}, "%/x is writable", "%/x"},
		"loop":                {[]entry{{"a/", 0o755, 0}, {"a/f -> f", 0, 0}}, "too many levels of symbolic links", ""},
		"name to be quoted":   {[]entry{{"a/", 0o755, 0}, {"a/f -> it's", 0, 0}, {"a/it's", 0o666, 0}}, "is writable by others", `'%/a/it'\''s'`},
		"folder is last, too": {[]entry{{"a/", 0o755, 0}, {"a/f/", sticky, 0}}, "%/a/f is writable by others (mode 0777)", "%/a/f"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, test.entries...)
			own := func(text string) string { return strings.ReplaceAll(text, "%", root) }
			err := owner.Check(filepath.Join(root, "a/f"))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), own(test.want)) {
				t.Fatalf("got %v, want %q", err, own(test.want))
			}
			if hint := protocol.HintOf(err); !strings.Contains(hint, own(test.hint)) {
				t.Errorf("hint %q, want %q", hint, own(test.hint))
			}
			if refused := err != nil && name != "loop"; owner.IsRefusal(err) != refused {
				t.Errorf("IsRefusal(%v) is not %v", err, refused)
			}
		})
	}
}

// What does not exist is no refusal, and a checker answers for its own user.
func TestCheckOthers(t *testing.T) {
	root := tree(t, entry{"f", 0o644, 0})
	if err := owner.Check(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) || owner.IsRefusal(err) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	file := filepath.Join(tree(t, entry{"f", 0o644, other}), "f")
	c := owner.Checker{UID: other}
	if err := c.Check(file); err != nil {
		t.Errorf("its own file: %v", err)
	}
}
