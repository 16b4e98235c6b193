// Package service is the frame that the three programs of the fleet share:
// configuration from the environment, an HTTP server with limits that stops
// when it is told to, health endpoints, and JSON in and out.
package service

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// Environment looks a variable up and answers "" when it is not set, as
// [os.Getenv] does.
type Environment func(name string) string

// Text returns the variable's value, or fallback when it is not set.
func (e Environment) Text(name, fallback string) string {
	if value := e(name); value != "" {
		return value
	}
	return fallback
}

// Duration returns the variable as a positive duration ("2s", "500ms"), or
// fallback when it is not set.
func (e Environment) Duration(name string, fallback time.Duration) (time.Duration, error) {
	value := e(name)
	if value == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if d <= 0 {
		return 0, fmt.Errorf("%s: %q must be longer than zero", name, value)
	}
	return d, nil
}

// ServiceURL returns the base URL of another program, without a slash at its
// end. The first that is set decides:
//
//  1. the variable name, for example CALLOUT_URL=https://callout.example.com
//  2. the variables that Kubernetes puts into every pod for each service that
//     is older than the pod: FLEET_CALLOUT_SERVICE_HOST and _SERVICE_PORT for
//     the service fleet-callout. They work in a cluster without DNS
//  3. the service's DNS name, for example http://fleet-callout:8080
func (e Environment) ServiceURL(name, service string) (string, error) {
	if value := e(name); value != "" {
		return parseBase(name, value)
	}
	prefix := strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_SERVICE_"
	host := e.Text(prefix+"HOST", service)
	port := e.Text(prefix+"PORT", "8080")
	return "http://" + net.JoinHostPort(host, port), nil
}

func parseBase(name, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("%s: %q is not an http:// or https:// URL", name, value)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%s: only scheme, host and path may be given", name)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// Secret returns the content of the file that <name>_FILE names, or the value
// of the variable name when no file is named; surrounding space is cut off.
// A mounted Secret changes while a program runs, so ask each time.
func (e Environment) Secret(name string) (string, error) {
	file := e(name + "_FILE")
	if file == "" {
		if value := strings.TrimSpace(e(name)); value != "" {
			return value, nil
		}
		return "", fmt.Errorf("neither %s_FILE nor %s is set", name, name)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", name, file)
	}
	return value, nil
}

// Logger writes JSON lines to standard error, from the level that LOG_LEVEL
// names (debug, info, warn, error; info when it is not set).
func (e Environment) Logger() (*slog.Logger, error) {
	var level slog.Level
	if value := e("LOG_LEVEL"); value != "" {
		if err := level.UnmarshalText([]byte(value)); err != nil {
			return nil, fmt.Errorf("LOG_LEVEL: %w", err)
		}
	}
	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	return slog.New(handler), nil
}
