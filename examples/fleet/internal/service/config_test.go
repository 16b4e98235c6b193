package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func environment(vars map[string]string) Environment {
	return func(name string) string { return vars[name] }
}

func TestServiceURL(t *testing.T) {
	links := map[string]string{"FLEET_CALLOUT_SERVICE_HOST": "10.96.0.7", "FLEET_CALLOUT_SERVICE_PORT": "9090"}
	tests := []struct {
		name    string
		vars    map[string]string
		want    string
		wantErr string
	}{
		{name: "DNS name", want: "http://fleet-callout:8080"},
		{name: "Kubernetes' variables", vars: links, want: "http://10.96.0.7:9090"},
		{
			name: "IPv6",
			vars: map[string]string{"FLEET_CALLOUT_SERVICE_HOST": "fd00::7"},
			want: "http://[fd00::7]:8080",
		},
		{
			name: "the URL comes first",
			vars: map[string]string{"CALLOUT_URL": "https://callout.example.com/v1/", "FLEET_CALLOUT_SERVICE_HOST": "10.96.0.7"},
			want: "https://callout.example.com/v1",
		},
		{name: "no scheme", vars: map[string]string{"CALLOUT_URL": "callout:8080"}, wantErr: "CALLOUT_URL"},
		{name: "password", vars: map[string]string{"CALLOUT_URL": "http://u:p@callout"}, wantErr: "only scheme"},
		{name: "query", vars: map[string]string{"CALLOUT_URL": "http://callout?a=b"}, wantErr: "only scheme"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := environment(test.vars).ServiceURL("CALLOUT_URL", "fleet-callout")
			checkError(t, err, test.wantErr)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		value   string
		want    time.Duration
		wantErr string
	}{
		{value: "", want: time.Minute},
		{value: "250ms", want: 250 * time.Millisecond},
		{value: "5", wantErr: "INTERVAL: "},
		{value: "-1s", wantErr: "longer than zero"},
	}
	for _, test := range tests {
		t.Run(test.value, func(t *testing.T) {
			env := environment(map[string]string{"INTERVAL": test.value})
			got, err := env.Duration("INTERVAL", time.Minute)
			checkError(t, err, test.wantErr)
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	write(t, file, "from-file\n")
	empty := filepath.Join(dir, "empty")
	write(t, empty, " \n")
	tests := []struct {
		name    string
		vars    map[string]string
		want    string
		wantErr string
	}{
		{name: "variable", vars: map[string]string{"TOKEN": " direct "}, want: "direct"},
		{name: "file", vars: map[string]string{"TOKEN": "direct", "TOKEN_FILE": file}, want: "from-file"},
		{name: "nothing", wantErr: "neither TOKEN_FILE nor TOKEN"},
		{name: "empty file", vars: map[string]string{"TOKEN_FILE": empty}, wantErr: "is empty"},
		{name: "no file", vars: map[string]string{"TOKEN": "direct", "TOKEN_FILE": filepath.Join(dir, "none")}, wantErr: "TOKEN_FILE: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := environment(test.vars).Secret("TOKEN")
			checkError(t, err, test.wantErr)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Fatalf("no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Fatalf("error %q does not contain %q", err, want)
	}
}
