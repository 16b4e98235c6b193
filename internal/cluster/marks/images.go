package marks

import (
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// WriteImages is the value of the mark [Images]: NAME=REPOSITORY@DIGEST for each of
// the further images, with commas between; "" when there are none.
func WriteImages(images map[string]protocol.ImageRef) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(images)) {
		list = append(list, name+"="+images[name].FullName()+"@"+images[name].Digest)
	}
	return strings.Join(list, ",")
}

// ReadImages reads what [WriteImages] wrote; nil when there are none. What is not of
// its form is left out. The images of the registry that like is from are asked for as
// it is.
func ReadImages(text string, like protocol.ImageRef) map[string]protocol.ImageRef {
	var images map[string]protocol.ImageRef
	for item := range strings.SplitSeq(text, ",") {
		name, reference, _ := strings.Cut(item, "=")
		image, err := protocol.ParseImageRef(reference)
		if err != nil || image.Digest == "" || !protocol.ValidName(name) {
			continue
		}
		image.Location, image.Insecure = like.Location, like.Insecure && image.Registry == like.Registry
		if images == nil {
			images = map[string]protocol.ImageRef{}
		}
		images[name] = image
	}
	return images
}
