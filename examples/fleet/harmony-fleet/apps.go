package main

import (
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

const timeout = protocol.Duration(30 * time.Second)

func callout() protocol.AppSpec {
	spec := app("callout")
	spec.Smoke = append(spec.Smoke, protocol.SmokeCheck{
		Name: "port", TCP: &protocol.TCPCheck{Service: "fleet-callout", Port: 8080}, Timeout: timeout,
	}, protocol.SmokeCheck{
		Name: "stranger-stays-out", Timeout: timeout, HTTP: &protocol.HTTPCheck{
			Service: "fleet-callout", Port: 8080, Method: "POST", Path: "/admit",
			Headers: map[string]string{"Content-Type": "application/json"},
			Body:    `{"device": "stranger", "token": "wrong"}`,
			Expect:  answer("{.allowed}", false),
		},
	})
	return spec
}

func operator() protocol.AppSpec {
	spec := app("operator", "fleet-callout")
	spec.Chart = protocol.ChartSource{} // operatorChart makes it
	spec.Targets = map[string]protocol.TargetValues{
		"staging": {Values: map[string]any{"replicas": 1, "logLevel": "debug"}},
		"production": {Values: map[string]any{"replicas": 2, "resources": map[string]any{
			"requests": map[string]any{"cpu": "20m", "memory": "32Mi"},
			"limits":   map[string]any{"memory": "128Mi"},
		}}},
	}
	metrics := get("metrics", "/metrics", protocol.HTTPExpect{Status: 200, Body: "fleet_devices_online"})
	spec.Smoke = append(spec.Smoke,
		get("callout-answers", "/readyz", answer("{.status}", "ready")),
		get("devices", "/devices", answer("{.devices}", nil)),
		metrics)
	return spec
}

func agent() protocol.AppSpec {
	spec := app("agent", "fleet-operator")
	spec.Smoke[0].Rollout.Workload = "statefulset/fleet-agent"
	reported := get("device-reported", "/devices", answer("{.devices[0].id}", "fleet-agent-0"))
	reported.HTTP.Expect.JSON = append(reported.HTTP.Expect.JSON, protocol.JSONExpect{Path: "{.devices[0].online}", Equals: true})
	reported.Interval = protocol.Duration(500 * time.Millisecond)
	spec.Smoke = append(spec.Smoke, reported)
	return spec
}

// get is a check of what the operator answers.
func get(name, path string, expect protocol.HTTPExpect) protocol.SmokeCheck {
	return protocol.SmokeCheck{Name: name, Timeout: timeout, HTTP: &protocol.HTTPCheck{
		Service: "fleet-operator", Port: 8080, Path: path, Expect: expect,
	}}
}

// answer expects a value in a JSON body; any, when value is nil.
func answer(path string, value any) protocol.HTTPExpect {
	return protocol.HTTPExpect{Status: 200, JSON: []protocol.JSONExpect{{Path: path, Equals: value}}}
}
