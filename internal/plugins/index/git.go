package index

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// maxPack limits the files that a clone writes, in blocks of 512 bytes (in some
	// shells 1024): the repository of an index is small.
	maxPack = 256 << 20 / 512
	// gitTimeout limits a clone.
	gitTimeout = 5 * time.Minute
)

func gitLocation(address string, local bool) location {
	return location{local: local, fetch: repository{address, local, maxPack}.read}
}

// repository is a git repository with an index in its root or in its folder
// plugin-index. The newest commit is read from a bare clone: nothing is checked out,
// and none of its filters, hooks or submodules ever runs.
type repository struct {
	address string
	local   bool
	maxPack int
}

func (r repository) read(ctx context.Context, _ fetching) (tree, error) {
	temporary, err := os.MkdirTemp("", "harmony-index-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temporary)
	limited, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	clone := filepath.Join(temporary, "clone")
	if _, err := r.git(limited, nil, "clone", "--quiet", "--bare", "--depth=1", "--single-branch", "--no-tags", "--template=", "--", r.address, clone); err != nil {
		return nil, cloneFailed(ctx, err)
	}
	entries, err := r.list(limited, clone)
	if err != nil {
		return nil, err
	}
	return r.blobs(limited, clone, entries)
}

// git runs one git command; the shell only sets the limit for file sizes.
func (r repository) git(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	limit := "ulimit -f " + strconv.Itoa(r.maxPack) + ` && exec git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.askPass= "$@"`
	return process.Output(ctx, process.Command{
		Args: append([]string{"/bin/sh", "-c", limit, "git"}, args...), Env: r.environment(process.Environ()), Stdin: stdin,
	})
}

// environment keeps git from prompting, from other protocols, and from the
// repository that the caller may be in.
func (r repository) environment(from []string) []string {
	env := process.WithoutRepository(from)
	if !slices.ContainsFunc(env, func(variable string) bool {
		return strings.HasPrefix(variable, "GIT_SSH_COMMAND=") || strings.HasPrefix(variable, "GIT_SSH=")
	}) {
		env = append(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	}
	protocols := "https:ssh"
	if r.local {
		protocols = "file"
	}
	return append(env, "GIT_ALLOW_PROTOCOL="+protocols, "GIT_TERMINAL_PROMPT=0", "SSH_ASKPASS_REQUIRE=never", "LC_ALL=C")
}

// blob is a file of the repository.
type blob struct{ object, file string }

// list reads the names of the index's files, without opening them.
func (r repository) list(ctx context.Context, clone string) ([]blob, error) {
	root := "HEAD:" + manifestFolder
	if kind, err := r.git(ctx, nil, "-C", clone, "cat-file", "-t", root); err != nil || string(kind) != "tree\n" {
		root = "HEAD"
	}
	out, err := r.git(ctx, nil, "-C", clone, "ls-tree", "-z", "-l", root)
	if err != nil {
		return nil, err
	}
	var blobs []blob
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		about, file, _ := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		if len(fields) != 4 || !belongs(file) {
			continue
		}
		if fields[0] != "100644" && fields[0] != "100755" {
			return nil, fmt.Errorf("%s is not a regular file", file)
		}
		if size, err := strconv.ParseInt(fields[3], 10, 64); err != nil || size > limitOf(file) {
			return nil, &tooLarge{file, limitOf(file)}
		}
		if blobs = append(blobs, blob{fields[2], file}); len(blobs) > maxFiles {
			return nil, fmt.Errorf("it has more than %d files", maxFiles)
		}
	}
	return blobs, nil
}

// blobs reads the files, byte for byte as they were committed.
func (r repository) blobs(ctx context.Context, clone string, wanted []blob) (tree, error) {
	files := tree{}
	if len(wanted) == 0 {
		return files, nil
	}
	var objects bytes.Buffer
	for _, b := range wanted {
		objects.WriteString(b.object + "\n")
	}
	out, err := r.git(ctx, &objects, "-C", clone, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	reader := bufio.NewReader(bytes.NewReader(out))
	for _, b := range wanted {
		data, err := readBlob(reader)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", b.file, err)
		}
		if err := files.add(b.file, data); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// readBlob reads one answer of cat-file: a line with the size, the bytes, a line
// end.
func readBlob(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(head)
	if len(fields) != 3 || fields[1] != "blob" {
		return nil, fmt.Errorf("unexpected answer of git: %q", strings.TrimSpace(head))
	}
	size, err := strconv.Atoi(fields[2])
	if err != nil || size < 0 || size > maxManifest {
		return nil, fmt.Errorf("unexpected size from git: %s", fields[2])
	}
	data := make([]byte, size+1)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data[:size], nil
}

// cloneFailed separates failures that a second attempt cannot fix from those that it
// may.
func cloneFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *process.Error
	if !errors.As(err, &failed) {
		return err
	}
	said := strings.TrimSpace(string(failed.Output))
	for _, final := range []struct{ words, hint string }{
		{`not found|does not exist|does not appear to be a git repository|[Aa]uthentication failed|could not read Username|Permission denied|access denied`, "check the address, and that git can read it without a prompt: set up a credential helper or an ssh agent"},
		{`transport '.*' not allowed|[Pp]rotocol .* (disabled|is unsupported)`, "redirects and protocols other than https and ssh are refused"},
		{`SSL certificate|certificate verif|CAfile|Host key verification failed`, "git on this machine must trust the server"},
		{`[Ff]ile size limit|File too large|index-pack output|pack has bad object|unexpected disconnect while reading sideband`, "the repository is too large for an index, or the transfer was cut off"},
		{`git: not found|No such file or directory: git`, "install git, or use an index at an https:// or oci:// address"},
	} {
		if regexp.MustCompile(final.words).MatchString(said) {
			return (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("git clone: %s", said)}).WithHint("%s", final.hint)
		}
	}
	return protocol.Retryable("git clone: %w: %s", failed.Err, said)
}
