package smoke

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	prometheusPort = 9090
	defaultBefore  = time.Hour
)

// prometheusProbe compares the values of a query.
type prometheusProbe struct {
	check protocol.PrometheusCheck
	http  *httpProbe
}

func newPrometheusProbe(root string, check protocol.PrometheusCheck, cluster *cluster) (probe, error) {
	request := protocol.HTTPCheck{URL: check.URL, Service: check.Service, Path: "/api/v1/query", Headers: check.Headers, TLS: check.TLS}
	if check.Service != "" {
		request.Port = cmp.Or(check.Port, prometheusPort)
	}
	p, err := newHTTPProbe(root, request, cluster.in(check.Namespace))
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return prometheusProbe{check: check, http: p}, nil
}

func (p prometheusProbe) attempt(ctx context.Context) (string, error) {
	now := time.Now()
	values, err := p.ask(ctx, now)
	if err != nil {
		return "", err
	}
	if len(values) == 0 {
		if p.check.Empty {
			return "the query has no samples", nil
		}
		return "", errors.New("the query has no samples")
	}
	var before map[string]float64
	if p.check.MaxIncrease != nil {
		if before, err = p.ask(ctx, now.Add(-p.check.Before.Or(defaultBefore))); err != nil {
			return "", err
		}
	}
	var seen []string
	for _, labels := range slices.Sorted(maps.Keys(values)) {
		if err := p.match(labels, values[labels], before); err != nil {
			return "", err
		}
		seen = append(seen, labels+number(values[labels]))
	}
	return strings.Join(seen, ", "), nil
}

// match is nil when a value is within the bounds.
func (p prometheusProbe) match(labels string, value float64, before map[string]float64) error {
	switch c := p.check; {
	case math.IsNaN(value):
		return fmt.Errorf("%sthe value is not a number", labels)
	case c.Min != nil && value < *c.Min:
		return fmt.Errorf("%s%s, expected at least %s", labels, number(value), number(*c.Min))
	case c.Max != nil && value > *c.Max:
		return fmt.Errorf("%s%s, expected at most %s", labels, number(value), number(*c.Max))
	case c.MaxIncrease != nil:
		return p.matchIncrease(labels, value, before)
	}
	return nil
}

func (p prometheusProbe) matchIncrease(labels string, value float64, before map[string]float64) error {
	ago := p.check.Before.Or(defaultBefore)
	was, found := before[labels]
	switch limit := was + math.Abs(was)**p.check.MaxIncrease; {
	case !found && p.check.Empty:
		return nil
	case !found || math.IsNaN(was):
		return fmt.Errorf("%sno value %s ago to compare with", labels, ago)
	case value > limit:
		return fmt.Errorf("%s%s, expected at most %s: %s ago it was %s", labels, number(value), number(limit), ago, number(was))
	}
	return nil
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// ask evaluates the query at a time. The values are by their labels, as a message shows them;
// a scalar has none.
func (p prometheusProbe) ask(ctx context.Context, at time.Time) (map[string]float64, error) {
	request := *p.http
	query := url.Values{"query": {p.check.Query}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	request.query = query.Encode()
	a, err := request.ask(ctx)
	if err != nil {
		return nil, err
	}
	var result struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	switch err := json.Unmarshal(a.body, &result); {
	case a.cut:
		return nil, fmt.Errorf("%s: the answer is over %d bytes; aggregate the query", request.name(), maxBody)
	case err == nil && result.Error != "":
		return nil, fmt.Errorf("%s: %s", request.name(), term.Excerpt(result.Error, maxExcerpt))
	case a.status != http.StatusOK || err != nil || result.Status != "success":
		return nil, fmt.Errorf("%s: status %d, no result of Prometheus%s", request.name(), a.status, excerpt(a.body))
	}
	values, err := readValues(result.Data.ResultType, result.Data.Result)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", request.name(), err)
	}
	return values, nil
}

// sample is a time and a value as the API writes them.
type sample [2]any

func (s sample) value() (float64, error) {
	text, _ := s[1].(string)
	return strconv.ParseFloat(text, 64)
}

// readValues reads a scalar or an instant vector.
func readValues(kind string, result json.RawMessage) (map[string]float64, error) {
	var vector []struct {
		Metric map[string]string
		Value  sample
	}
	var err error
	switch kind {
	case "vector":
		err = json.Unmarshal(result, &vector)
	case "scalar":
		vector = append(vector, struct {
			Metric map[string]string
			Value  sample
		}{})
		err = json.Unmarshal(result, &vector[0].Value)
	default:
		return nil, fmt.Errorf("the query's result is a %s, and not a scalar or an instant vector", term.Excerpt(kind, maxExcerpt))
	}
	if err != nil {
		return nil, fmt.Errorf("read the result: %w", err)
	}
	values := make(map[string]float64, len(vector))
	for _, s := range vector {
		value, err := s.Value.value()
		if err != nil {
			return nil, fmt.Errorf("read the result: %w", err)
		}
		values[labelsOf(s.Metric)] = value
	}
	return values, nil
}

// labelsOf shows the labels of a sample as PromQL writes them, with a space after them.
func labelsOf(metric map[string]string) string {
	if len(metric) == 0 {
		return ""
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(metric)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, metric[name]))
	}
	return "{" + strings.Join(pairs, ",") + "} "
}
