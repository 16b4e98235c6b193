package differential

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// zeroTime makes a server tell no time.
var zeroTime time.Time

// content is an OCI layout: its files by name.
type content func(name string) ([]byte, error)

func (c content) json(name string, into any) error {
	data, err := c(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func blobName(d digest.Digest) string { return "blobs/" + string(d.Algorithm()) + "/" + d.Encoded() }

// image is what is compared.
type image struct {
	files  map[string]string // a line for each path
	config string
	layers int // that have anything in them
}

// read reads the one image of a layout.
func read(c content) (image, error) {
	var index ocispec.Index
	if err := c.json("index.json", &index); err != nil {
		return image{}, err
	}
	if len(index.Manifests) != 1 {
		return image{}, fmt.Errorf("%d manifests", len(index.Manifests))
	}
	var manifest ocispec.Manifest
	if err := c.json(blobName(index.Manifests[0].Digest), &manifest); err != nil {
		return image{}, err
	}
	var config dockerspec.DockerOCIImage
	if err := c.json(blobName(manifest.Config.Digest), &config); err != nil {
		return image{}, err
	}
	tree, layers := tree{}, 0
	for i, l := range manifest.Layers {
		data, err := c(blobName(l.Digest))
		if err != nil {
			return image{}, err
		}
		changed, err := tree.apply(data, config.RootFS.DiffIDs[i])
		if err != nil {
			return image{}, fmt.Errorf("layer %d: %w", i, err)
		}
		if changed {
			layers++
		}
	}
	text, err := describe(config)
	return image{tree.lines(), text, layers}, err
}

// describe is the configuration without times, history and digests.
func describe(config dockerspec.DockerOCIImage) (string, error) {
	config.Created, config.History, config.RootFS = nil, nil, ocispec.RootFS{}
	text, err := json.MarshalIndent(config, "", " ")
	return string(text), err
}

// entry is a file of a tree.
type entry struct {
	kind     byte
	mode     int64
	uid, gid int
	is       string // the target of a link, or what identifies the content
}

// tree is the file system of an image, by path without a leading slash.
type tree map[string]entry

// apply puts a layer on top, and reports whether there is anything in it.
func (t tree) apply(compressed []byte, want digest.Digest) (bool, error) {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return false, err
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return false, err
	}
	if got := digest.FromBytes(plain); got != want {
		return false, fmt.Errorf("is %s, the configuration says %s", got, want)
	}
	fresh := map[string]bool{} // paths of this layer
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return len(fresh) > 0, nil
		}
		if err != nil {
			return false, err
		}
		if err := t.add(h, r, fresh); err != nil {
			return false, err
		}
	}
}

func (t tree) add(h *tar.Header, r io.Reader, fresh map[string]bool) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	dir, base := path.Split(name)
	switch {
	case base == ".wh..wh..opq":
		t.remove(func(p string) bool { return strings.HasPrefix(p, dir) && !fresh[p] })
		return nil
	case strings.HasPrefix(base, ".wh."):
		gone := dir + strings.TrimPrefix(base, ".wh.")
		t.remove(func(p string) bool { return (p == gone || strings.HasPrefix(p, gone+"/")) && !fresh[p] })
		fresh[name] = true
		return nil
	}
	e := entry{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, is: h.Linkname}
	switch h.Typeflag {
	case tar.TypeReg:
		sum := sha256.New()
		n, err := io.Copy(sum, r)
		if err != nil {
			return err
		}
		e.is = fmt.Sprintf("%d bytes %x", n, sum.Sum(nil)[:6])
	case tar.TypeLink:
		target, ok := t[strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")]
		if !ok {
			return fmt.Errorf("%s is a hard link to %s, which is not there", name, h.Linkname)
		}
		e = target
	case tar.TypeSymlink:
		e.mode = 0o777
	}
	if e.kind != tar.TypeDir {
		t.remove(func(p string) bool { return strings.HasPrefix(p, name+"/") })
	}
	for p := path.Dir(name); p != "." && p != "/"; p = path.Dir(p) {
		if t[p].kind != tar.TypeDir {
			t[p] = entry{kind: tar.TypeDir, mode: 0o755}
		}
		fresh[p] = true
	}
	t[name], fresh[name] = e, true
	return nil
}

func (t tree) remove(which func(string) bool) {
	maps.DeleteFunc(t, func(p string, _ entry) bool { return which(p) })
}

func (t tree) lines() map[string]string {
	lines := map[string]string{}
	for p, e := range t {
		if p != "" { // the root is whatever unpacks it
			lines[p] = fmt.Sprintf("%c %04o %d:%d /%s %s", "-hlcbdp"[e.kind-'0'], e.mode, e.uid, e.gid, p, e.is)
		}
	}
	return lines
}

// difference says how another image differs, with lines for what only one has.
func (i image) difference(other image, layers bool) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(merge(i.files, other.files))) {
		if a, b2 := i.files[p], other.files[p]; a != b2 {
			fmt.Fprintf(&b, "-%s\n+%s\n", a, b2)
		}
	}
	if i.config != other.config {
		a, c := strings.Split(i.config, "\n"), strings.Split(other.config, "\n")
		for _, line := range a {
			if !slices.Contains(c, line) {
				fmt.Fprintf(&b, "-config %s\n", line)
			}
		}
		for _, line := range c {
			if !slices.Contains(a, line) {
				fmt.Fprintf(&b, "+config %s\n", line)
			}
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "-config %s\n+config %s\n", i.config, other.config)
		}
	}
	if layers && i.layers != other.layers {
		fmt.Fprintf(&b, "-%d layers\n+%d layers\n", i.layers, other.layers)
	}
	return b.String()
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
