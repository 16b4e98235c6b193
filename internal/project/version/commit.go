package version

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/project/git"
)

// Commit is a commit, and whether the content is still that of it.
type Commit struct {
	// Hash is the full one.
	Hash string
	// Time is the committer's.
	Time time.Time
	// Dirty is set when a tracked file has changed since.
	Dirty bool
}

// String is the hash, with -dirty behind it if the content has changed since.
func (c Commit) String() string {
	if c.Dirty {
		return c.Hash + "-dirty"
	}
	return c.Hash
}

// Head is the commit that the content of dir comes from; the zero one without git, a
// repository or a commit. Programs that the repository's own configuration names are
// not run.
func Head(ctx context.Context, dir string) (Commit, error) {
	commit, err := head(ctx, dir)
	if errors.Is(err, git.ErrNothing) {
		return Commit{}, nil
	}
	return commit, err
}

func head(ctx context.Context, dir string) (Commit, error) {
	r, err := git.Open(ctx, dir)
	if err != nil {
		return Commit{}, err
	}
	// Without any tag that is the whole hash.
	name, err := r.Run(ctx, "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")
	if err != nil {
		return Commit{}, err
	}
	var c Commit
	c.Hash, c.Dirty = strings.CutSuffix(name, "-dirty")
	line, err := r.Run(ctx, "rev-list", "--max-count=1", "--timestamp", c.Hash)
	if err != nil {
		return Commit{}, err
	}
	text, _, _ := strings.Cut(line, " ")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Commit{}, fmt.Errorf("git rev-list: unexpected output %q", line)
	}
	c.Time = time.Unix(seconds, 0)
	return c, nil
}
