package daemonless

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
)

const maxLinks = 40

// tree is the file system of an image, without the content of its files.
type tree struct {
	root *node
	// layer is the number of the layer that is being read.
	layer int
}

// node is a file, folder or link. The Path of its entry is not used.
type node struct {
	entry    ocilayout.Entry
	children map[string]*node // of a folder
	// origin is where the content of a file of a base image is.
	origin *origin
	// layer is the number of the layer that it is from.
	layer int
}

// origin is a file in a layer of a base image.
type origin struct {
	image *base.Image
	layer digest.Digest
	path  string
}

func newTree() *tree {
	return &tree{root: &node{entry: ocilayout.Dir("", 0o755), children: map[string]*node{}}}
}

// at is what is at a path without symbolic links, or nil.
func (t *tree) at(name string) *node {
	n := t.root
	for part := range strings.SplitSeq(name, "/") {
		if part == "" {
			continue
		}
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// overlay puts a tree on top of this one, as a layer is put on others.
func (t *tree) overlay(top *tree) error {
	return top.root.below("", func(at string, n *node) error {
		own := *n
		if n.isDir() {
			own.children = map[string]*node{}
		}
		return t.put(at, &own)
	})
}

func (n *node) isDir() bool { return n.children != nil }

// resolve follows the symbolic links of a path, inside the image, and returns the
// resulting path, "" for the root, and what is there, if anything. The last
// component is followed only if last is true.
func (t *tree) resolve(name string, last bool) (string, *node, error) {
	type place struct {
		name string
		node *node
	}
	stack := []place{{"", t.root}} // a nil node is not there (yet)
	rest, links := strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		top := stack[len(stack)-1]
		var child *node
		if top.node != nil {
			if child = top.node.children[part]; !top.node.isDir() {
				return "", nil, fmt.Errorf("/%s is not a folder", top.name)
			}
		}
		if child == nil || child.entry.Type != tar.TypeSymlink || !last && onlyDots(rest) {
			stack = append(stack, place{path.Join(top.name, part), child})
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("/%s: too many symbolic links", path.Join(top.name, part))
		}
		if path.IsAbs(child.entry.Link) {
			stack = stack[:1]
		}
		rest = append(strings.Split(child.entry.Link, "/"), rest...)
	}
	end := stack[len(stack)-1]
	return end.name, end.node, nil
}

func onlyDots(rest []string) bool {
	return !slices.ContainsFunc(rest, func(s string) bool { return s != "" && s != "." })
}

// put sets what is at a path that resolve returned. A folder put over a folder
// keeps what is in it.
func (t *tree) put(name string, n *node) error {
	if name == "" {
		if !n.isDir() {
			return errors.New("the root must be a folder")
		}
		t.root.entry = n.entry
		return nil
	}
	dir, base := path.Split(name)
	parent := t.at(dir)
	if parent == nil || !parent.isDir() {
		return fmt.Errorf("/%s: its folder does not exist", name)
	}
	if old := parent.children[base]; old != nil && old.isDir() && n.isDir() {
		n.children = old.children
	}
	parent.children[base] = n
	return nil
}

// below calls f for everything in a folder, sorted, folders before what is in
// them.
func (n *node) below(at string, f func(at string, n *node) error) error {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child, where := n.children[name], path.Join(at, name)
		if err := f(where, child); err != nil {
			return err
		}
		if err := child.below(where, f); err != nil {
			return err
		}
	}
	return nil
}

// glob returns the paths that match a pattern, sorted.
func (t *tree) glob(pattern string) ([]string, error) {
	return dockerfile.Glob(pattern, func(dir, _ string) ([]string, error) {
		_, n, err := t.resolve(dir, true)
		if err != nil || n == nil {
			return nil, err
		}
		return slices.Sorted(maps.Keys(n.children)), nil
	})
}
