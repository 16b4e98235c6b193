package status

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	helm, application := Entry{Context: "eu", Object: "release app", State: "deployed"}, Entry{Context: "eu", Object: "Application a/b", State: "Synced"}
	absent := Entry{Context: "eu", State: Absent}
	better := application
	better.Healthy = true
	for name, c := range map[string]struct{ entries, more, want []Entry }{
		"nothing more":          {[]Entry{helm}, nil, []Entry{helm}},
		"absent here":           {[]Entry{absent}, []Entry{application}, []Entry{application}},
		"absent there":          {[]Entry{helm}, []Entry{absent}, []Entry{helm}},
		"absent both":           {[]Entry{absent}, []Entry{absent}, []Entry{absent}},
		"beside each other":     {[]Entry{helm}, []Entry{application}, []Entry{helm, application}},
		"the same, told better": {[]Entry{application}, []Entry{better}, []Entry{better}},
		"of another cluster":    {[]Entry{{Context: "us", State: Absent}}, []Entry{application}, []Entry{{Context: "us", State: Absent}, application}},
	} {
		if got := Merge(c.entries, c.more); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	since := now.Add(-3 * time.Hour)
	entries := []Entry{
		{App: "b", Target: "staging", State: Absent},
		{App: "a", Target: "staging", Context: "eu", Namespace: "fleet", Adapter: "helm", Version: "1.0.0", Image: "sha256:0123456789abcdef", Since: &since, State: "deployed", Healthy: true},
	}
	Sort(entries)
	var b bytes.Buffer
	if err := Table(&b, entries, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "a staging eu/fleet helm 1.0.0 0123456789ab 3h deployed yes -" {
		t.Errorf("line %q", got)
	}
	if got := strings.Join(strings.Fields(lines[2]), " "); got != "b staging - - - - absent - -" {
		t.Errorf("line %q", got)
	}
}
