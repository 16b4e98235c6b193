package buildkit

import (
	"encoding/csv"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/nationtech/harmony/pkg/protocol"
)

// caches are the settings cache.from and cache.to.
type caches struct {
	From []any `json:"from"`
	To   []any `json:"to"`
}

func (s *settings) readCache() error {
	var c caches
	if err := decode("cache.", s.Cache, &c); err != nil {
		return err
	}
	var err error
	if s.cacheFrom, err = readEntries("cache.from", c.From); err != nil {
		return err
	}
	s.cacheTo, err = readEntries("cache.to", c.To)
	return err
}

func readEntries(field string, list []any) ([]client.CacheOptionsEntry, error) {
	var entries []client.CacheOptionsEntry
	for i, value := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		attrs, err := readAttributes(value)
		if err != nil {
			return nil, protocol.Invalid("%s: %w", at, err)
		}
		entry := client.CacheOptionsEntry{Type: attrs["type"], Attrs: attrs}
		delete(attrs, "type")
		if err := checkEntry(entry, field == "cache.from"); err != nil {
			return nil, protocol.Invalid("%s: %w", at, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
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
				return nil, fmt.Errorf("%s: want a text", name)
			}
		}
	default:
		return nil, fmt.Errorf("want a text such as type=registry,ref=… or a mapping")
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
		return fmt.Errorf("type %q is none of %s", e.Type, strings.Join(slices.Sorted(maps.Keys(needed)), ", "))
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

// forApp puts the app's name where the entries say {app}.
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
