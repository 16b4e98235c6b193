package nodeimport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/config/localcluster"
	"github.com/nationtech/harmony/pkg/protocol"
)

type node struct {
	name string
	// cluster is the one that it is of; empty for a socket.
	cluster localcluster.Cluster
	// ctr is the command of containerd's own client there. It is used, and not
	// containerd's Go client: on a node in a container nothing else is in reach,
	// and it costs the start of harmony-publish nothing.
	ctr []string
}

func (p places) nodes(ctx context.Context) ([]node, error) {
	if p.containerd != "" {
		return []node{{name: p.containerd, ctr: []string{"ctr", "--address", p.containerd, "--namespace", "k8s.io"}}}, nil
	}
	var all []node
	for _, cluster := range p.clusters {
		names, err := nodeNames(ctx, cluster)
		if err != nil {
			return nil, fmt.Errorf("nodes of the %s cluster %s: %w", cluster.Tool, cluster.Name, err)
		}
		if len(names) == 0 {
			return nil, protocol.Unsupported("the %s cluster %s has no nodes", cluster.Tool, cluster.Name).
				WithHint("does it run? see: %s get clusters, or %s cluster list", localcluster.Kind, localcluster.K3d)
		}
		for _, name := range names {
			all = append(all, node{name, cluster, []string{p.engine, "exec", "-i", name, "ctr", "--namespace", "k8s.io"}})
		}
	}
	return all, nil
}

func nodeNames(ctx context.Context, cluster localcluster.Cluster) ([]string, error) {
	if cluster.Tool == localcluster.Kind {
		out, err := process.Output(ctx, process.Command{Args: []string{"kind", "get", "nodes", "--name", cluster.Name}})
		return strings.Fields(string(out)), err
	}
	out, err := process.Output(ctx, process.Command{Args: []string{"k3d", "node", "list", "--output", "json"}})
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name          string            `json:"name"`
		Role          string            `json:"role"`
		RuntimeLabels map[string]string `json:"runtimeLabels"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("k3d node list: %w", err)
	}
	var names []string
	for _, n := range list {
		if n.RuntimeLabels["k3d.cluster"] == cluster.Name && (n.Role == "server" || n.Role == "agent") {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// load imports the archive: k3d into a whole cluster, the others into each node.
func (a archive) load(ctx context.Context, nodes []node) error {
	group, running := errgroup.WithContext(ctx)
	done := map[string]bool{}
	for _, n := range nodes {
		switch cluster := n.cluster.Name; {
		case n.cluster.Tool != localcluster.K3d:
			group.Go(func() error { return n.load(running, a) })
		case !done[cluster]:
			done[cluster] = true
			group.Go(func() error { return importK3d(running, cluster, a) })
		}
	}
	return group.Wait()
}

// importK3d gives k3d the archive as a file, which is the only way to give it
// one without a daemon.
func importK3d(ctx context.Context, cluster string, a archive) error {
	file, err := os.CreateTemp("", "harmony-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := errors.Join(a.write(ctx, file), file.Close()); err != nil {
		return err
	}
	_, err = process.Output(ctx, process.Command{Args: []string{"k3d", "image", "import", "--mode", "direct", "--cluster", cluster, file.Name()}})
	return err
}

// load streams the archive into the node's containerd.
func (n node) load(ctx context.Context, a archive) error {
	read, write := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := a.write(ctx, write)
		write.CloseWithError(err)
		written <- err
	}()
	_, err := process.Output(ctx, process.Command{Args: slices.Concat(n.ctr, []string{"images", "import", "-"}), Stdin: read})
	read.CloseWithError(errNotWanted)
	if failed := <-written; failed != nil && !errors.Is(failed, errNotWanted) {
		return failed
	}
	return err
}

// errNotWanted ends the writing of an archive that nobody reads.
var errNotWanted = errors.New("the archive was not read to its end")

type held struct {
	// tagged and pinned are the digests behind name:tag and name@digest.
	tagged, pinned string
	// status is containerd's word for how much of the content there is.
	status string
}

// images asks the node what it has under the image's names.
func (n node) images(ctx context.Context, image protocol.ImageRef) (held, error) {
	byTag, byDigest := names(image)
	args := slices.Concat(n.ctr, []string{"images", "check", "name==" + byTag, "name==" + byDigest})
	out, err := process.Output(ctx, process.Command{Args: args})
	if err != nil {
		return held{}, fmt.Errorf("list the images of node %s: %w", n.name, err)
	}
	var h held
	for line := range strings.Lines(string(out)) {
		columns := strings.Fields(line) // REF TYPE DIGEST STATUS …
		if len(columns) < 4 {
			continue
		}
		switch columns[0] {
		case byTag:
			h.tagged, h.status = columns[2], columns[3]
		case byDigest:
			h.pinned = columns[2]
		}
	}
	return h, nil
}

func (n node) proves(ctx context.Context, image protocol.ImageRef) error {
	got, err := n.images(ctx, image)
	if missing := got.missing(image); err == nil && missing != "" {
		return fmt.Errorf("node %s %s", n.name, missing)
	}
	return err
}

// missing says what the node lacks, or "".
func (h held) missing(image protocol.ImageRef) string {
	byTag, byDigest := names(image)
	switch {
	case h.tagged == "":
		return "does not have " + byTag
	case h.tagged != image.Digest:
		return fmt.Sprintf("has %s with the digest %s instead of %s", byTag, h.tagged, image.Digest)
	case h.pinned != image.Digest:
		return "does not have " + byDigest
	case h.status != "complete":
		return fmt.Sprintf("has %s, but its content is %s", byTag, h.status)
	}
	return ""
}

// names are the two of an image on a node, as a pull gives them.
func names(image protocol.ImageRef) (byTag, byDigest string) {
	return image.FullName() + ":" + image.Tag, image.FullName() + "@" + image.Digest
}
