package project

import (
	"cmp"
	"context"
	"maps"
	"strings"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/project/git"
	"github.com/nationtech/harmony/pkg/protocol"
)

// EnvBranch is the branch of previews, where it is not the one that CI or git says.
const EnvBranch = "HARMONY_BRANCH"

// TopologyOf is the topology of a project. Its targets for previews have the branch,
// unless there is none.
func (s Source) TopologyOf(ctx context.Context, p *config.Project) (protocol.Topology, error) {
	topology, err := p.Topology(s.Topology, s.Getenv)
	if err != nil {
		return protocol.Topology{}, err
	}
	var of *protocol.Preview
	targets := maps.Clone(topology.Targets)
	for name, target := range topology.Targets {
		if target.InCluster == nil || !target.InCluster.IsPreview() || target.InCluster.Preview != nil {
			continue
		}
		if of == nil {
			if of, err = s.preview(ctx, p); err != nil {
				return protocol.Topology{}, err
			}
		}
		in := *target.InCluster
		in.Preview = of
		target.InCluster = &in
		targets[name] = target
	}
	topology.Targets = targets
	return topology, nil
}

// preview is what a preview of the project is of.
func (s Source) preview(ctx context.Context, p *config.Project) (*protocol.Preview, error) {
	of := &protocol.Preview{Project: p.Name, Branch: branchOf(s.Getenv)}
	dir := p.Root
	if len(p.Apps) > 0 {
		dir = p.Apps[0].ProjectRoot
	}
	repository, err := git.Open(ctx, dir)
	if err != nil { // no repository, or none that may be read
		return of, ctx.Err()
	}
	if of.Branch == "" { // a detached HEAD has none
		of.Branch, _ = repository.Run(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
	}
	remote, _ := repository.Run(ctx, "config", "--get", "remote.origin.url") // a clone may have none
	of.Project = cmp.Or(repositoryOf(remote), of.Project)
	return of, ctx.Err()
}

// branchOf is the branch that CI builds, "" where it says none: that of a pull
// request is its own, not the one that it is for. GitHub, Gitea and Forgejo say it by
// GITHUB_HEAD_REF, or GITHUB_REF_NAME with GITHUB_REF_TYPE; GitLab and Woodpecker by
// CI_MERGE_REQUEST_SOURCE_BRANCH_NAME, CI_COMMIT_SOURCE_BRANCH or CI_COMMIT_BRANCH.
func branchOf(getenv func(string) string) string {
	pushed := ""
	if getenv("GITHUB_REF_TYPE") == "branch" {
		pushed = getenv("GITHUB_REF_NAME")
	}
	return cmp.Or(getenv(EnvBranch), getenv("GITHUB_HEAD_REF"), pushed,
		getenv("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"), getenv("CI_COMMIT_SOURCE_BRANCH"), getenv("CI_COMMIT_BRANCH"))
}

// repositoryOf is the path of a repository on its server, which is the same however it
// was cloned: shop/web of https://ci@git.example.com/shop/web.git.
func repositoryOf(remote string) string {
	path := remote
	if _, rest, ok := strings.Cut(remote, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	} else if host, rest, ok := strings.Cut(remote, ":"); ok && !strings.Contains(host, "/") {
		path = rest
	}
	return strings.Trim(strings.TrimSuffix(strings.TrimRight(path, "/"), ".git"), "/")
}
