package config

import (
	"path/filepath"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Given is a project whose documents come from somewhere else than a
// harmony.yaml: from is an absolute path, such as that of an app plugin. Each
// document is valid on its own; what they do not tell alone, such as a cycle of
// dependencies, is an error of status protocol.ExitInvalid.
func Given(name, from string, apps []protocol.AppSpec, topologies []protocol.Topology, pipelines []protocol.Pipeline) (*Project, error) {
	project := &Project{
		File: from, Root: filepath.Dir(from), Name: label(name),
		Apps: apps, Topologies: topologies, Pipelines: pipelines,
	}
	var documents []document
	for i := range apps {
		documents = append(documents, document{name: apps[i].Name, app: &apps[i]})
	}
	for i := range topologies {
		documents = append(documents, document{name: topologies[i].Name, topology: &topologies[i]})
	}
	for i := range pipelines {
		documents = append(documents, document{name: pipelines[i].Name, pipeline: &pipelines[i]})
	}
	found := &problems{file: displayName(from)}
	crossCheck(documents, found)
	if len(found.found) > 0 {
		return nil, protocol.Invalid("%w", found)
	}
	return project, nil
}
