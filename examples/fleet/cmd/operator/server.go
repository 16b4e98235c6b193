package main

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strings"

	"example.com/fleet/internal/service"
)

// admission decides who may report.
type admission interface {
	admit(ctx context.Context, device, token string) (decision, error)
	ready(ctx context.Context) error
}

type server struct {
	log       *slog.Logger
	version   string
	registry  *registry
	admission admission
	metrics   *metrics
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	service.Health(mux, s.version, s.admission.ready)
	mux.HandleFunc("GET /devices", s.list)
	mux.HandleFunc("POST /devices/{id}/report", s.report)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	return mux
}

func (s *server) list(w http.ResponseWriter, _ *http.Request) {
	service.WriteJSON(w, http.StatusOK, map[string][]device{"devices": s.registry.list()})
}

// deviceID is the form of a Kubernetes object's name, in one label.
var deviceID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (s *server) report(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !deviceID.MatchString(id) {
		s.metrics.count(resultInvalid)
		service.WriteError(w, http.StatusBadRequest, "a device's id is up to 63 of a-z, 0-9 and -")
		return
	}
	token, ok := bearer(r)
	if !ok {
		s.metrics.count(resultDenied)
		w.Header().Set("WWW-Authenticate", "Bearer")
		service.WriteError(w, http.StatusUnauthorized, "a bearer token is needed")
		return
	}
	var report struct {
		Version string `json:"version"`
	}
	if !service.ReadJSON(w, r, &report) {
		s.metrics.count(resultInvalid)
		return
	}
	if len(report.Version) > 128 {
		s.metrics.count(resultInvalid)
		service.WriteError(w, http.StatusBadRequest, "the version is longer than 128 bytes")
		return
	}
	s.admit(w, r, id, token, report.Version)
}

// admit asks callout, and takes the report when it agrees.
func (s *server) admit(w http.ResponseWriter, r *http.Request, id, token, version string) {
	answer, err := s.admission.admit(r.Context(), id, token)
	if err != nil {
		s.log.Warn("no decision", "device", id, "error", err)
		s.metrics.count(resultFailed)
		service.WriteError(w, http.StatusServiceUnavailable, "callout gives no answer; try again")
		return
	}
	if !answer.Allowed {
		s.log.Warn("denied", "device", id, "reason", answer.Reason)
		s.metrics.count(resultDenied)
		service.WriteError(w, http.StatusForbidden, answer.Reason)
		return
	}
	if err := s.registry.report(id, version); err != nil {
		s.log.Error("cannot take the report", "device", id, "error", err)
		s.metrics.count(resultFailed)
		service.WriteError(w, http.StatusInsufficientStorage, err.Error())
		return
	}
	s.log.Debug("report", "device", id, "version", version)
	s.metrics.count(resultAccepted)
	w.WriteHeader(http.StatusNoContent)
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}
