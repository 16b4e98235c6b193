package prometheusoperator

import (
	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// settings are the adapter's own in the topology.
type settings struct {
	// labels are put on every object: those by which Prometheus and Alertmanager
	// are told to choose, such as release: kube-prometheus-stack.
	labels map[string]string
}

const labelsSetting = "labels"

func readSettings(from map[string]any) (settings, error) {
	var s settings
	for name, value := range from {
		if name != labelsSetting {
			return s, unknownSetting(name)
		}
		given, ok := value.(map[string]any)
		if !ok {
			return s, protocol.Invalid("%s: %v is not a mapping of labels", name, value)
		}
		s.labels = map[string]string{}
		for key, label := range given {
			if s.labels[key], ok = label.(string); !ok {
				return s, protocol.Invalid("%s.%s: %v is not a text", name, key, label)
			}
			if key == labelApp || key == labelManaged {
				return s, protocol.Invalid("%s.%s: is set by harmony", name, key)
			}
		}
	}
	return s, nil
}

func unknownSetting(name string) error {
	err := protocol.Invalid("%s is not a setting of adapter %s", name, Name)
	if near := nearest.Name(name, []string{labelsSetting}); near != "" {
		return err.WithHint("did you mean %q?", near)
	}
	return err.WithHint("it has: %s", labelsSetting)
}
