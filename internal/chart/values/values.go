// Package values makes the Helm values of an app for a target, and compares two
// sets of them.
package values

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Of makes the values of an app for a target: its values files in order, then
// its values, as helm's -f and --set take them.
func Of(app protocol.AppSpec, target string) (map[string]any, error) {
	settings := app.Targets[target]
	values := map[string]any{}
	for _, name := range settings.ValuesFiles {
		file, err := readValues(app, name)
		if err != nil {
			return nil, protocol.Invalid("values of %s for target %q: %w", app.Name, target, err)
		}
		values = merge(values, file)
	}
	return merge(values, Whole(settings.Values).(map[string]any)), nil
}

// readValues reads a values file from the chart's folder, or from the project's
// root when the chart has none of that name. No link leads out of the project:
// what templates print of a file of the machine ends in logs.
func readValues(app protocol.AppSpec, name string) (map[string]any, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q leads out of the project", name)
	}
	root, err := os.OpenRoot(app.ProjectRoot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := root.ReadFile(filepath.Join(app.Chart.Path, name))
	if errors.Is(err, fs.ErrNotExist) {
		data, err = root.ReadFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is neither in the chart's folder %s nor in %s", name, app.Chart.Path, app.ProjectRoot)
	}
	if err != nil {
		return nil, err
	}
	values, err := chartutil.ReadValues(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return values, nil
}

// merge returns base with over laid over it, map by map.
func merge(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	for key, value := range over {
		below, belowIsMap := merged[key].(map[string]any)
		above, aboveIsMap := value.(map[string]any)
		if belowIsMap && aboveIsMap {
			value = merge(below, above)
		}
		merged[key] = value
	}
	return merged
}

// maxWhole is the largest float64 below which every whole number has one.
const maxWhole = 1 << 53

// Whole makes whole numbers, which JSON gives as float64, integers again:
// templates would print a large one as 1e+06.
func Whole(value any) any {
	switch v := value.(type) {
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, member := range v {
			made[key] = Whole(member)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i, member := range v {
			made[i] = Whole(member)
		}
		return made
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < maxWhole {
			return int64(v)
		}
	}
	return value
}

// Digest is the same for values that mean the same.
func Digest(values map[string]any) (string, error) {
	var plain any
	encoded, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(encoded, &plain) // 1 and 1.0 become one
	}
	if err == nil {
		encoded, err = json.Marshal(plain)
	}
	if err != nil {
		return "", fmt.Errorf("values: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
