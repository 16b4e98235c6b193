package scan

import (
	"cmp"
	"path"
)

// werfChart is the folder of werf's chart. It has a Chart.yaml only if its author wrote
// one.
const werfChart = ".helm"

// readWerf reads the images of a werf.yaml that have a Dockerfile.
func readWerf(found *Found, s *scanner, name string, data []byte) {
	for _, d := range documents(found, name, data) {
		if project := text(d, "project"); project != "" {
			folder, _ := within(path.Dir(name), cmp.Or(text(d, "deploy", "helmChartDir"), werfChart))
			found.note(name, d.Line, "the werf project %s", project)
			if !s.isAlone() && !s.exists(path.Join(folder, "Chart.yaml")) {
				found.unclear(name, d.Line, "werf fills in the chart in %s by itself; give it a Chart.yaml, and values for its images, to release it with harmony", folder)
			}
		}
		images := texts(at(d, "image"))
		if len(images) == 0 {
			continue
		}
		image := Image{Name: imageName(images[0]), File: name, Line: d.Line, origin: ofWerf}
		if text(d, "dockerfile") == "" {
			found.unclear(name, d.Line, "the image %s is built by werf's own instructions; write a Dockerfile", images[0])
			continue
		}
		if image.builtFrom(found, name, buildOf{
			line: d.Line, context: cmp.Or(text(d, "context"), "."), file: text(d, "dockerfile"), target: text(d, "target"), args: at(d, "args"),
		}) {
			image.addDockerfile(s)
			found.note(name, d.Line, "the image %s%s", image.Name, describePorts(image.Workload.Ports))
			found.Images = append(found.Images, image)
		}
	}
}
