// Package values makes the Helm values of an app for a target, knows which of them
// are secret, and compares two sets of them.
package values

import (
	"context"
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

// Set is the values of an app for a target, and what of them is secret.
type Set struct {
	// All are what the chart gets, what is secret in the clear.
	All map[string]any
	// Encrypted are the values files that SOPS encrypted, in order. Without one
	// nothing is secret.
	Encrypted []string
	// Digest stands for the values and can be shown: it is made from what is secret
	// as it is encrypted.
	Digest string

	masks *masks
}

// Of makes the values of an app for a target: its values files in order, then
// its values, as helm's -f and --set take them. Files that SOPS encrypted are
// decrypted by the sops on PATH. Without sops or a key it is an error of status
// protocol.ExitUnsupported.
func Of(ctx context.Context, app protocol.AppSpec, target string) (Set, error) {
	var secret []string
	set, err := of(app, target, func(f file) (map[string]any, error) {
		open, err := f.decrypt(ctx, app.ProjectRoot)
		secret = append(secret, scalars(f.values, open)...)
		return open, err
	})
	if err == nil && len(set.Encrypted) > 0 {
		set.masks = newMasks(secret)
	}
	return set, err
}

// StandIns are the values as [Of] makes them, but for what SOPS encrypted: it is
// replaced by something of its type. No key is needed.
func StandIns(app protocol.AppSpec, target string) (Set, error) {
	return of(app, target, func(f file) (map[string]any, error) { return standIns(f.values).(map[string]any), nil })
}

// InClear makes the values for a place, such as an Argo CD Application, where anybody
// who sees it reads them. Encrypted files are an error of status
// protocol.ExitUnsupported.
func InClear(app protocol.AppSpec, target, place string) (Set, error) {
	set, err := StandIns(app, target)
	if err == nil && len(set.Encrypted) > 0 {
		return Set{}, protocol.Unsupported("values of %s for target %q: %s is encrypted with SOPS, and %s would hold its values in the clear", app.Name, target, set.Encrypted[0], place).
			WithHint("take it out of valuesFiles and have the chart refer to a Secret that is already there, or deliver with adapter helm or flux")
	}
	return set, err
}

// of makes the values. open gives those of an encrypted file.
func of(app protocol.AppSpec, target string, open func(file) (map[string]any, error)) (Set, error) {
	settings := app.Targets[target]
	set, sealed := Set{All: map[string]any{}}, map[string]any{}
	where := fmt.Sprintf("values of %s for target %q", app.Name, target)
	for _, name := range settings.ValuesFiles {
		f, err := readValues(app, name)
		if err != nil {
			return Set{}, protocol.Invalid("%s: %w", where, err)
		}
		values := f.values
		if f.encrypted {
			set.Encrypted = append(set.Encrypted, name)
			if values, err = open(f); err != nil {
				return Set{}, fmt.Errorf("%s: %w", where, err)
			}
		}
		set.All, sealed = merge(set.All, values), merge(sealed, f.values)
	}
	own := Whole(settings.Values).(map[string]any)
	set.All = merge(set.All, own)
	var err error
	set.Digest, err = Digest(merge(sealed, own))
	return set, err
}

// file is a values file. When it is encrypted, values are the encrypted ones,
// without the metadata of SOPS.
type file struct {
	name      string
	data      []byte
	values    map[string]any
	encrypted bool
}

// readValues reads a values file from the chart's folder, or from the project's
// root when the chart has none of that name. No link leads out of the project:
// what templates print of a file of the machine ends in logs.
func readValues(app protocol.AppSpec, name string) (file, error) {
	if !filepath.IsLocal(name) {
		return file{}, fmt.Errorf("%q leads out of the project", name)
	}
	root, err := os.OpenRoot(app.ProjectRoot)
	if err != nil {
		return file{}, err
	}
	defer root.Close()
	data, err := root.ReadFile(filepath.Join(app.Chart.Path, name))
	if errors.Is(err, fs.ErrNotExist) {
		data, err = root.ReadFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, fmt.Errorf("%s is neither in the chart's folder %s nor in %s", name, app.Chart.Path, app.ProjectRoot)
	}
	if err != nil {
		return file{}, err
	}
	return parse(name, data)
}

func parse(name string, data []byte) (file, error) {
	values, err := chartutil.ReadValues(data)
	if err != nil {
		return file{}, fmt.Errorf("%s: %w", name, err)
	}
	f := file{name: name, data: data, values: values, encrypted: isEncrypted(values)}
	if f.encrypted {
		delete(f.values, metadataKey)
	}
	return f, nil
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
