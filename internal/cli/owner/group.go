package owner

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// The groups whose members can become root anyway: wheel or root, and admin on
// macOS, to which Homebrew's folders belong.
const (
	rootGroup  = 0
	adminGroup = 80
)

// groups are the groups and users in the system's files.
type groups struct {
	loaded        bool
	group, passwd [][]string
}

// ownGroup reports whether only the caller and root are in a group, such as the private
// group that most systems create for a user. A group that /etc/group does not list does
// not count.
func (c *Checker) ownGroup(path string, gid uint32) bool {
	if hasACL(path) { // the mode does not say who else can write
		return false
	}
	if runtime.GOOS == "darwin" && (gid == rootGroup || gid == adminGroup) {
		return true
	}
	if !c.groups.loaded {
		c.groups = groups{true, fields("/etc/group"), fields("/etc/passwd")}
	}
	return c.groups.private(strconv.Itoa(int(gid)), strconv.Itoa(c.UID))
}

// private reports whether nobody but root and the user is in the group.
func (g groups) private(gid, uid string) bool {
	found := false
	names := map[string]bool{"root": true}
	for _, user := range g.passwd { // name:password:uid:gid:…
		if len(user) < 4 {
			continue
		}
		if user[2] == uid || user[2] == "0" {
			names[user[0]] = true
		} else if user[3] == gid && gid != "0" { // system accounts share root's group
			return false
		}
	}
	for _, group := range g.group { // name:password:gid:member,member
		if len(group) < 4 || group[2] != gid {
			continue
		}
		found = true
		for member := range strings.SplitSeq(group[3], ",") {
			if member != "" && !names[member] {
				return false
			}
		}
	}
	return found
}

// fields are those of a file's lines; none if it cannot be read.
func fields(file string) [][]string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var lines [][]string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.Split(strings.TrimSpace(line), ":"))
	}
	return lines
}

// quote quotes a path for a shell.
func quote(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%,:=") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
