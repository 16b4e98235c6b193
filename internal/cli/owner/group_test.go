package owner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A group in which nobody else is counts as its user (umask 002).
func TestPrivateGroups(t *testing.T) {
	split := func(text string) (lines [][]string) {
		for line := range strings.FieldsSeq(text) {
			lines = append(lines, strings.Split(line, ":"))
		}
		return lines
	}
	g := groups{
		passwd: split("root:x:0:0::/root:/bin/sh ann:x:1000:1000::/: bob:x:1001:1001::/: eve:x:1002:100::/: operator:x:11:0::/: bad"),
		group:  split("root:x:0: ann:x:1000: bob:x:1001:ann users:x:100: staff:x:50: brew:x:60:ann,root dev:x:70:ann,bob dup:x:80: dup:x:80:bob bad"),
	}
	for gid, want := range map[string]bool{
		"0": true, "1000": true, "1001": false, "100": false, "50": true, "60": true, "70": false, "80": false, "4711": false,
	} {
		if got := g.private(gid, "1000"); got != want {
			t.Errorf("group %s: got %v, want %v", gid, got, want)
		}
	}
}

// The files of this system are read where it comes to them.
func TestOwnGroupHere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o664); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("the groups of other users differ from system to system")
	}
	if err := Check(file); err != nil {
		t.Errorf("root's own group: %v", err)
	}
	if err := os.Chown(file, 0, 4711); err != nil {
		t.Fatal(err)
	}
	if err := Check(file); err == nil {
		t.Error("a group that nobody knows was taken for root's own")
	}
}
