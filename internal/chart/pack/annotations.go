package pack

import (
	"maps"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
)

// annotations are those that Helm gives a chart's manifest. The time of
// creation is a fixed one: a chart made again is the same chart.
func annotations(m *chart.Metadata) map[string]string {
	const prefix = "org.opencontainers.image."
	all := map[string]string{}
	maps.Copy(all, m.Annotations)
	for key, value := range map[string]string{
		"title":       m.Name,
		"version":     m.Version,
		"description": m.Description,
		"url":         m.Home,
		"source":      strings.Join(m.Sources[:min(1, len(m.Sources))], ""),
		"authors":     authors(m.Maintainers),
		"created":     "1970-01-01T00:00:00Z",
	} {
		if value != "" {
			all[prefix+key] = value
		}
	}
	return all
}

func authors(maintainers []*chart.Maintainer) string {
	names := make([]string, len(maintainers))
	for i, m := range maintainers {
		names[i] = m.Name
		if m.Email != "" {
			names[i] += " (" + m.Email + ")"
		}
	}
	return strings.Join(names, ", ")
}
