package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"30s"`: 30 * time.Second, `"1m30s"`: 90 * time.Second, `"250ms"`: 250 * time.Millisecond, `"0"`: 0, `"1.5h"`: 90 * time.Minute,
	} {
		var d protocol.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, error %v, want %v", text, time.Duration(d), err, want)
		}
		encoded, err := json.Marshal(d)
		if err != nil || string(encoded) != `"`+want.String()+`"` {
			t.Errorf("%s is written as %s, error %v", text, encoded, err)
		}
	}
	for _, text := range []string{`""`, `"30"`, `"30 s"`, `"soon"`} {
		var d protocol.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil || !strings.Contains(err.Error(), "is not a duration such as 30s") {
			t.Errorf("%s: %v, error %v", text, time.Duration(d), err)
		}
	}
	var d protocol.Duration
	if err := json.Unmarshal([]byte("30"), &d); err == nil {
		t.Error("a number is taken for a duration")
	}
}

func TestDurationOr(t *testing.T) {
	if protocol.Duration(0).Or(time.Minute) != time.Minute || protocol.Duration(time.Second).Or(time.Minute) != time.Second {
		t.Error("only zero takes the fallback")
	}
}

func TestProtocolRangeCommon(t *testing.T) {
	type r = protocol.ProtocolRange
	for _, test := range []struct {
		a, b r
		want int
		ok   bool
	}{
		{r{1, 1}, r{1, 1}, 1, true}, {r{1, 3}, r{2, 5}, 3, true}, {r{2, 2}, r{1, 9}, 2, true}, {r{1, 1}, r{2, 3}, 0, false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := test.a, test.b
			if swap {
				a, b = b, a
			}
			if got, ok := a.Common(b); ok != test.ok || ok && got != test.want {
				t.Errorf("%v and %v: %d, %t", a, b, got, ok)
			}
		}
	}
}
