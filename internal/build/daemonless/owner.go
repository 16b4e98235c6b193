package daemonless

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tonistiigi/dchapes-mode"

	"github.com/nationtech/harmony/internal/build/dockerfile"
)

// owner reads a user[:group] of numbers or names, which are looked up in /etc/passwd
// and /etc/group of the stage. A user alone has the group of the same number, or
// the one that /etc/passwd gives it.
func (m *maker) owner(ctx context.Context, text string, t *tree) (uid, gid int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	user, group, hasGroup := strings.Cut(text, ":")
	user = cmp.Or(user, "0")
	fields, err := m.account(ctx, "/etc/passwd", user, t)
	if err == nil {
		uid, err = strconv.Atoi(fields[2])
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user: %w", err)
	}
	switch {
	case hasGroup && group == "":
	case hasGroup:
		fields, err = m.account(ctx, "/etc/group", group, t)
		if err == nil {
			gid, err = strconv.Atoi(fields[2])
		}
	default:
		gid, err = strconv.Atoi(fields[3])
	}
	if err != nil {
		return 0, 0, fmt.Errorf("group: %w", err)
	}
	return uid, gid, nil
}

// account is the line of a name in a file like /etc/passwd, in fields. A number
// needs no line.
func (m *maker) account(ctx context.Context, file, name string, t *tree) ([]string, error) {
	if _, err := strconv.ParseUint(name, 10, 31); err == nil {
		return []string{name, "", name, name}, nil
	}
	if name == "root" {
		return []string{name, "", "0", "0"}, nil
	}
	_, n, err := t.resolve(file, true)
	if err != nil {
		return nil, err
	}
	if n == nil || n.entry.Type != tar.TypeReg {
		return nil, fmt.Errorf("%q cannot be looked up: the stage has no %s; use a number", name, file)
	}
	if err := m.extract(ctx, []*node{n}); err != nil {
		return nil, err
	}
	content, err := n.entry.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	lines := bufio.NewScanner(io.LimitReader(content, 10<<20))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if fields[0] == name && len(fields) >= 4 {
			return fields, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%q is not in %s", name, file)
}

// chmod is the mode of --chmod: octal, or symbolic such as u=rwX,go=rX.
type chmod struct {
	given    bool
	octal    int64
	symbolic *mode.Set
}

func parseChmod(text string) (chmod, error) {
	if text == "" {
		return chmod{}, nil
	}
	octal, err := strconv.ParseInt(text, 8, 32)
	if err == nil && octal >= 0 && octal <= 0o7777 {
		return chmod{given: true, octal: octal}, nil
	}
	set, err := mode.ParseWithUmask(text, 0)
	if err != nil || text[0] >= '0' && text[0] <= '9' {
		return chmod{}, fmt.Errorf("--chmod=%s: a mode is octal, 0 to 07777, or like u=rwX,go=rX", text)
	}
	return chmod{given: true, symbolic: &set}, nil
}

// folder is the mode of folders that are made on the way to a destination.
func (c chmod) folder() int64 {
	if !c.given || c.symbolic != nil {
		return 0o755
	}
	return c.octal & 0o777
}

// apply is the mode of something with the mode old.
func (c chmod) apply(old int64, folder bool) int64 {
	switch {
	case !c.given:
		return old
	case c.symbolic == nil:
		return c.octal
	}
	header := tar.Header{Typeflag: tar.TypeReg, Mode: old}
	if folder {
		header.Typeflag = tar.TypeDir
	}
	return dockerfile.Mode(c.symbolic.Apply(header.FileInfo().Mode()))
}
