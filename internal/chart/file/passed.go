package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Passed is an image without a digest that a container is told of in an argument or a
// variable: operators run such images in pods that they make themselves.
type Passed struct {
	Image string
	// Where is the argument or the variable, of that container.
	Where, Container string
	// Object is the one with the container, and Template what rendered it, within the
	// chart's folder.
	Object, Template string
}

// String implements [fmt.Stringer].
func (p Passed) String() string {
	return fmt.Sprintf("%s in %s of container %s in %s (%s)", p.Image, p.Where, p.Container, p.Object, p.Template)
}

// PassedOn lists the images that containers are told of by a tag, those of hooks too. What
// is an image is told by its form: a name with a registry and a tag, or one with a tag
// alone where the name of the argument or variable says image.
func (r Rendered) PassedOn() []Passed {
	var all []Passed
	for _, o := range slices.Concat(r.Objects, r.Hooks) {
		eachContainer(o.Object, func(container map[string]any) {
			name, _ := container["name"].(string)
			told(container, func(where, key, text string) {
				for _, image := range imagesIn(key, text) {
					all = append(all, Passed{image, where, name, Title(o), r.Source(o)})
				}
			})
		})
	}
	return all
}

// told lists what a container is told: where, the name of it, and the text.
func told(container map[string]any, add func(where, key, text string)) {
	for _, field := range []string{"command", "args"} {
		before := "" // a flag whose value comes next
		for _, argument := range textsOf(container[field]) {
			where := field
			if flag, _, joined := strings.Cut(argument, "="); joined && isFlag(flag) {
				where = "argument " + flag
			} else if before != "" {
				where = "argument " + before
			}
			add(where, before, argument)
			if before = ""; isFlag(argument) && !strings.Contains(argument, "=") {
				before = argument
			}
		}
	}
	variables, _ := container["env"].([]any)
	for _, v := range variables {
		variable, _ := v.(map[string]any)
		key, _ := variable["name"].(string)
		value, _ := variable["value"].(string)
		add("env "+key, key, value)
	}
}

func isFlag(text string) bool {
	return strings.HasPrefix(text, "-") && !strings.ContainsAny(text, " \t\n")
}

func textsOf(value any) (all []string) {
	list, _ := value.([]any)
	for _, item := range list {
		text, _ := item.(string)
		all = append(all, text)
	}
	return all
}

// eachContainer calls do for each container that a value describes.
func eachContainer(value any, do func(map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list, isList := v[key].([]any)
			if !isList || key != "containers" && key != "initContainers" {
				eachContainer(v[key], do)
				continue
			}
			for _, item := range list {
				if container, is := item.(map[string]any); is {
					do(container)
				}
			}
		}
	case []any:
		for _, item := range v {
			eachContainer(item, do)
		}
	}
}

// imagesIn are the images without a digest that a text names. Key is the name of the
// variable, or the flag before it.
func imagesIn(key, text string) (images []string) {
	words := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n,;\"'`[]{}()|<>", c) })
	for _, word := range words {
		named := key
		if i := strings.LastIndexByte(word, '='); i >= 0 {
			named, word = key+word[:i], word[i+1:]
		}
		ref, err := protocol.ParseImageRef(word)
		if err != nil || ref.Digest != "" || ref.Tag == "" {
			continue
		}
		if ref.Registry != "" || strings.Contains(strings.ToLower(named), "image") {
			images = append(images, word)
		}
	}
	return images
}
