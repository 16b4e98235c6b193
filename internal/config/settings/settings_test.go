package settings_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/protocol"
)

// all has one setting of each kind.
type all struct {
	text, word  string
	on, report  bool
	count       int
	timeout     time.Duration
	list        []string
	labels      map[string]string
	values      []any
	inner, also string
}

func (a *all) table() settings.Table {
	short := func(s string) bool { return len(s) < 4 }
	return settings.Table{
		"text": settings.Text(&a.text), "word": settings.OneOf(&a.word, "one", "two"), "on": settings.Bool(&a.on),
		"report": settings.Chosen(&a.report, "report", "repair"), "count": settings.Whole(&a.count, 1), "timeout": settings.Duration(&a.timeout),
		"list":   settings.List(&a.list, "short words", short),
		"labels": settings.Labels(&a.labels, "short labels", func(name, value string) bool { return short(value) }),
		"values": settings.Raw(&a.values),
		"within": settings.Mapping(settings.Table{"inner": settings.Text(&a.inner), "also": settings.Text(&a.also)}),
	}
}

func TestEveryKindIsRead(t *testing.T) {
	for _, count := range []any{3, int64(3), float64(3)} {
		var got all
		err := settings.Read(map[string]any{
			"text": "x", "word": "two", "on": true, "report": "report", "count": count, "timeout": "90s", "list": []any{"a", "b"},
			"labels": map[string]any{"k": "v"}, "values": []any{1, "b"}, "within": map[string]any{"inner": "y"},
		}, got.table())
		want := all{
			text: "x", word: "two", on: true, report: true, count: 3, timeout: 90 * time.Second, list: []string{"a", "b"},
			labels: map[string]string{"k": "v"}, values: []any{1, "b"}, inner: "y",
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestWrongValuesAreNamed(t *testing.T) {
	for want, from := range map[string]map[string]any{
		"text must be a string, not 7":                       {"text": 7},
		"text must be a string, not ":                        {"text": ""},
		"word must be one of one, two, not three":            {"word": "three"},
		"on must be true or false, not yes":                  {"on": "yes"},
		"report must be one of report, repair, not 1":        {"report": 1},
		"count must be a whole number of 1 or more, not 0":   {"count": 0},
		"count must be a whole number of 1 or more, not 1.5": {"count": 1.5},
		"timeout must be a duration such as 5m, not 5":       {"timeout": 5.0},
		"timeout must be a duration such as 5m, not -1s":     {"timeout": "-1s"},
		"timeout must be a duration such as 5m, not 1ns":     {"timeout": "1ns"},
		"list must be a list, not a":                         {"list": "a"},
		"list must be a list of short words, not long":       {"list": []any{"a", "long"}},
		"labels must be a mapping of short labels, not 7":    {"labels": 7},
		"labels.b must be short labels, not 1":               {"labels": map[string]any{"b": 1}},
		"values must be a list, not a":                       {"values": "a"},
		"within must be a mapping, not a":                    {"within": "a"},
		"within.inner must be a string, not true":            {"within": map[string]any{"inner": true}},
		"within.iner is not a setting of this adapter":       {"within": map[string]any{"iner": "x"}},
		"tiemout is not a setting of this adapter":           {"tiemout": "x"},
		"a is not a setting of this adapter":                 {"c": 1, "b": 2, "a": 3, "text": 7},
		"on must be true or false, not 1":                    {"text": 7, "on": 1, "zzz": 2},
	} {
		for range 5 { // a map has another order each time
			var got all
			err := settings.Read(from, got.table())
			if protocol.ExitCode(err) != protocol.ExitInvalid || fmt.Sprint(err) != want {
				t.Fatalf("%v: got %v, want %s", from, err, want)
			}
		}
	}
	var got all
	err := settings.Read(map[string]any{"tiemout": "1m"}, got.table())
	if hint := protocol.HintOf(err); !strings.HasPrefix(hint, `did you mean "timeout"? known settings: count, labels`) {
		t.Errorf("hint %q", hint)
	}
}
