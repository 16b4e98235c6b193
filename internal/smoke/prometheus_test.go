package smoke

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// prometheus answers as Prometheus' HTTP API is documented to; the server itself is not
// here. It has one result for now, and one for half an hour ago.
func prometheus(t *testing.T, now, before string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, err := strconv.ParseFloat(r.URL.Query().Get("time"), 64)
		if r.URL.Path != "/main/api/v1/query" || r.URL.Query().Get("query") != "up{a=~\"b+\"}" || err != nil {
			http.Error(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`, http.StatusBadRequest)
			return
		}
		if r.Header.Get("Authorization") != "Bearer opensesame" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		switch ago := time.Since(time.UnixMilli(int64(at * 1000))); {
		case ago < time.Minute:
			fmt.Fprint(w, now)
		case ago > 29*time.Minute && ago < 31*time.Minute:
			fmt.Fprint(w, before)
		default:
			fmt.Fprint(w, `{"status":"error","error":"no such time"}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/main"
}

func vector(samples ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}}`
}

func of(pod, value string) string {
	return fmt.Sprintf(`{"metric":{"pod":%q},"value":[1.5,%q]}`, pod, value)
}

func TestPrometheus(t *testing.T) {
	limit := func(v float64) *float64 { return &v }
	for name, c := range map[string]struct {
		now, before string
		check       protocol.PrometheusCheck
		seen, want  string // the message, or the error
	}{
		"within":         {vector(of("a", "0.25"), of("b", "1")), "", protocol.PrometheusCheck{Min: limit(0.25), Max: limit(1)}, `{pod="a"} 0.25, {pod="b"} 1`, ""},
		"over":           {vector(of("a", "0.25"), of("b", "1.5")), "", protocol.PrometheusCheck{Max: limit(1)}, "", `{pod="b"} 1.5, expected at most 1`},
		"under":          {vector(of("a", "-1")), "", protocol.PrometheusCheck{Min: limit(0)}, "", `{pod="a"} -1, expected at least 0`},
		"not a number":   {vector(of("a", "NaN")), "", protocol.PrometheusCheck{Max: limit(1)}, "", "not a number"},
		"endless":        {vector(of("a", "+Inf")), "", protocol.PrometheusCheck{Max: limit(1)}, "", "+Inf, expected at most 1"},
		"scalar":         {`{"status":"success","data":{"resultType":"scalar","result":[1.5,"3"]}}`, "", protocol.PrometheusCheck{Max: limit(3)}, "3", ""},
		"matrix":         {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, "", protocol.PrometheusCheck{Max: limit(3)}, "", "is a matrix"},
		"empty":          {vector(), "", protocol.PrometheusCheck{Max: limit(3)}, "", "no samples"},
		"may be empty":   {vector(), "", protocol.PrometheusCheck{Max: limit(3), Empty: true}, "no samples", ""},
		"grown":          {vector(of("a", "12")), vector(of("a", "10")), protocol.PrometheusCheck{MaxIncrease: limit(0.1)}, "", `{pod="a"} 12, expected at most 11: 30m0s ago it was 10`},
		"grown a little": {vector(of("a", "11")), vector(of("a", "10")), protocol.PrometheusCheck{MaxIncrease: limit(0.1)}, `{pod="a"} 11`, ""},
		"below zero":     {vector(of("a", "-9")), vector(of("a", "-10")), protocol.PrometheusCheck{MaxIncrease: limit(0.1)}, `{pod="a"} -9`, ""},
		"new":            {vector(of("a", "11")), vector(of("b", "10")), protocol.PrometheusCheck{MaxIncrease: limit(0.1)}, "", "no value 30m0s ago"},
		"may be new":     {vector(of("a", "11")), vector(of("b", "10")), protocol.PrometheusCheck{MaxIncrease: limit(0.1), Empty: true}, "11", ""},
		"bad query":      {"", "", protocol.PrometheusCheck{Query: "up{", Max: limit(1)}, "", "parse error"},
		"nobody":         {"", "", protocol.PrometheusCheck{Headers: map[string]string{}, Max: limit(1)}, "", "status 401"},
		"garbage":        {"<html>", "", protocol.PrometheusCheck{Max: limit(1)}, "", "no result of Prometheus"},
		"no value":       {vector(`{"value":[1]}`), "", protocol.PrometheusCheck{Max: limit(1)}, "", "read the result"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PROMETHEUS_TOKEN", "Bearer opensesame")
			c.check.URL, c.check.Before = prometheus(t, c.now, c.before), protocol.Duration(30*time.Minute)
			if c.check.Query == "" {
				c.check.Query = `up{a=~"b+"}`
			}
			if c.check.Headers == nil {
				c.check.Headers = map[string]string{"Authorization": "env:PROMETHEUS_TOKEN"}
			}
			p, err := newPrometheusProbe("", c.check, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := p.attempt(t.Context())
			if c.want == "" && (err != nil || !strings.Contains(seen, c.seen)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%q, %v; want %q or the error %q", seen, err, c.seen, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "opensesame") {
				t.Errorf("the token is shown: %v", err)
			}
		})
	}
}

func FuzzPrometheusResult(f *testing.F) {
	f.Add("vector", []byte(`[{"metric":{"a":"b"},"value":[1,"2"]}]`))
	f.Add("scalar", []byte(`[1,"2"]`))
	f.Add("vector", []byte(`[{"value":[1]}]`))
	f.Fuzz(func(t *testing.T, kind string, result []byte) {
		values, err := readValues(kind, result)
		if (values == nil) == (err == nil) {
			t.Errorf("%v, %v", values, err)
		}
	})
}
