package buildkit

import (
	"encoding/csv"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/protocol"
)

// cacheEntries reads cache.from or cache.to.
func cacheEntries(into *[]client.CacheOptionsEntry, from bool) settings.Setter {
	return func(path string, value any) error {
		var list []any
		if err := settings.Raw(&list)(path, value); err != nil {
			return err
		}
		for i, value := range list {
			attrs, err := readAttributes(value)
			entry := client.CacheOptionsEntry{Type: attrs["type"], Attrs: attrs}
			delete(attrs, "type")
			if err == nil {
				err = checkEntry(entry, from)
			}
			if err != nil {
				return protocol.Invalid("%s[%d]: %w", path, i, err)
			}
			*into = append(*into, entry)
		}
		return nil
	}
}

// readAttributes takes a mapping, or a text as the commands of BuildKit have
// it: type=registry,ref=….
func readAttributes(value any) (map[string]string, error) {
	attrs := map[string]string{}
	switch value := value.(type) {
	case string:
		fields, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			return nil, fmt.Errorf("%q is not type=…,name=value,…", value)
		}
		for _, field := range fields {
			name, v, ok := strings.Cut(field, "=")
			if !ok {
				return nil, fmt.Errorf("%q is not name=value", field)
			}
			attrs[strings.TrimSpace(name)] = v
		}
	case map[string]any:
		for name, v := range value {
			switch v.(type) {
			case string, bool, float64, int, int64:
				attrs[name] = fmt.Sprint(v)
			default:
				return nil, fmt.Errorf("%s: must be a string", name)
			}
		}
	default:
		return nil, fmt.Errorf("must be a string such as type=registry,ref=… or a mapping")
	}
	return attrs, nil
}

// checkEntry refuses what the builder could not use, and secrets.
func checkEntry(e client.CacheOptionsEntry, from bool) error {
	needed := map[string]string{"registry": "ref", "local": "dest", "inline": "", "s3": "bucket", "azblob": "account_url"}
	if from {
		needed["local"] = "src"
		delete(needed, "inline")
	}
	attribute, known := needed[e.Type]
	if !known {
		return fmt.Errorf("type %q is not one of %s", e.Type, strings.Join(slices.Sorted(maps.Keys(needed)), ", "))
	}
	if attribute != "" && e.Attrs[attribute] == "" {
		return fmt.Errorf("type %s needs %s", e.Type, attribute)
	}
	if e.Type == "local" && !filepath.IsAbs(e.Attrs[attribute]) {
		return fmt.Errorf("%s: %q is not an absolute path", attribute, e.Attrs[attribute])
	}
	for _, secret := range []string{"secret_access_key", "session_token", "access_key_id", "token"} {
		if _, has := e.Attrs[secret]; has {
			return fmt.Errorf("%s: secrets have no place in the topology; the builder takes them from its own environment", secret)
		}
	}
	if mode, has := e.Attrs["mode"]; has && mode != "min" && mode != "max" {
		return fmt.Errorf("mode: %q is not min or max", mode)
	}
	return nil
}

// forApp returns a copy of the entries with the app's name in place of {app}.
func forApp(entries []client.CacheOptionsEntry, app string) []client.CacheOptionsEntry {
	list := slices.Clone(entries)
	for i := range list {
		list[i].Attrs = maps.Clone(list[i].Attrs)
		for name, value := range list[i].Attrs {
			list[i].Attrs[name] = strings.ReplaceAll(value, "{app}", app)
		}
	}
	return list
}
