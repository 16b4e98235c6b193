package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxTold is how many lines of a chart an error lists.
const maxTold = 8

// tagError reports templates that use a tag with a digest where it cannot be.
type tagError struct{ error }

func (e tagError) Unwrap() error { return e.error }

// blameTag explains err when it comes from the digest in the tag: without it the
// chart renders.
func (p *packing) blameTag(ctx context.Context, places protocol.ChartImage, err error) error {
	if _, unused := errors.AsType[file.UnusedError](err); unused || ctx.Err() != nil {
		return err
	}
	plain := *p
	plain.image.Digest = ""
	if _, plainErr := plain.try(ctx, places); plainErr != nil {
		return err
	}
	lines := p.files.uses(places)
	where := ""
	if len(lines) > 0 {
		where = " (" + strings.Join(lines, ", ") + ")"
	}
	return tagError{protocol.Invalid("chart %s: the digest goes into .Values.%s, %s@%s, which the chart cannot use everywhere:\n%s",
		p.name, places.Tag, protocol.TagOf(p.app.Version), p.image.Digest, strings.Join(p.problems(err), "\n")).
		WithHint("there use .Chart.AppVersion, the app's version, instead of .Values.%s%s; or have the templates take the digest from a value of its own, .Values.%s", places.Tag, where, digestBeside(places.Tag))}
}

// problems are those of an error, each once, and of a name or label with the
// digest only where it is.
func (p *packing) problems(err error) []string {
	all := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		all = joined.Unwrap()
	}
	var lines []string
	for _, e := range all {
		line := strings.TrimPrefix(e.Error(), "chart "+p.name+": ")
		if where, what, quoted := strings.Cut(line, ` "`); quoted && strings.Contains(what, "@sha256") {
			line = strings.TrimSuffix(where, ":")
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return short(lines)
}

// short is the beginning of a list that is too long to be read.
func short(lines []string) []string {
	if len(lines) <= maxTold {
		return lines
	}
	return append(lines[:maxTold:maxTold], fmt.Sprintf("and %d more", len(lines)-maxTold))
}

// none explains why the image has no place: what is nearest to one, or where the
// images of the containers come from.
func (p *packing) none(ctx context.Context, failures []failure) error {
	for _, nearest := range []func(failure) bool{
		func(f failure) bool { return f.proven },
		func(f failure) bool { _, blamed := errors.AsType[tagError](f.err); return blamed },
	} {
		if i := slices.IndexFunc(failures, nearest); i >= 0 {
			return failures[i].err
		}
	}
	var unused file.UnusedError
	var other error
	for _, f := range failures {
		if use, half := p.half(f.err); half {
			return p.halfTaken(f.places, use)
		}
		if !errors.As(f.err, &unused) && other == nil {
			other = f.err
		}
	}
	if len(failures) == 0 {
		made, err := p.try(ctx, protocol.ChartImage{})
		if err == nil {
			err = p.unproven(made)
		}
		if !errors.As(err, &unused) {
			other = err
		}
	}
	if len(unused.Images) > 0 || other == nil {
		return p.fixed(unused.Images)
	}
	return other
}

// halfTaken is the error for templates that take the image's name from a value,
// and its tag from elsewhere, such as Chart.yaml.
func (p *packing) halfTaken(places protocol.ChartImage, use file.Use) error {
	at := p.files.imageLine(use, "AppVersion", "."+lastKey(places.Repository))
	repository, tag := pathIn(use.Template, places.Repository), pathIn(use.Template, places.Tag)
	return protocol.Invalid("chart %s: the image's name goes into .Values.%s, but its digest goes nowhere: %s of %s comes from\n%s",
		p.name, places.Repository, use.Image, use.Object, at.whole()).
		WithHint("change two lines, so that the tag is a value too:\n%s%s: %s: \"\"\n%s: image: \"{{ .Values.%s }}:{{ .Values.%s }}\"",
			fileIn(use.Template, valuesFile), under(tag), lastKey(tag), at, repository, tag)
}

// fixed is the error for containers with the images that the templates give them.
func (p *packing) fixed(images []file.Use) error {
	if len(images) == 0 {
		return protocol.Invalid("chart %s: there is no container that could take the image, with %s", p.name, p.variants[len(p.variants)-1].name).
			WithHint("does a value switch it on? the values of a target go into spec.targets.NAME.values")
	}
	var lines []line
	for _, use := range images {
		lines = append(lines, p.files.imageLine(use))
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.template, b.template), cmp.Compare(a.number, b.number))
	})
	lines = slices.Compact(lines)
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = line.whole()
	}
	defaults := fileIn(lines[0].template, valuesFile)
	value, template := `image: ""`, `image: {{ .Values.image | quote }}`
	values, _ := chartutil.ReadValues(p.files[defaults])
	if _, isMap := values["image"].(map[string]any); isMap {
		value, template = `image: {repository: "", tag: ""}`, `image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"`
	}
	return protocol.Invalid("chart %s: no value is found that takes the image; the images of the containers come from\n%s", p.name, strings.Join(short(texts), "\n")).
		WithHint("if a value takes it, name it in %s; else change two lines, those of the app's container:\n%s: %s\n%s: %s", p.field(), defaults, value, lines[0], template)
}
