package main

import (
	"context"
	"log/slog"
	"net/http"

	"example.com/fleet/internal/service"
)

type admitRequest struct {
	Device string `json:"device"`
	Token  string `json:"token"`
}

type admitResponse struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
}

// newHandler serves the decisions. load is asked each time, so that a changed
// Secret counts from the next request on.
func newHandler(log *slog.Logger, version string, load func() (tokens, error)) http.Handler {
	mux := http.NewServeMux()
	service.Health(mux, version, func(context.Context) error {
		_, err := load()
		return err
	})
	mux.HandleFunc("POST /admit", func(w http.ResponseWriter, r *http.Request) {
		var request admitRequest
		if !service.ReadJSON(w, r, &request) {
			return
		}
		if request.Device == "" || request.Token == "" {
			service.WriteError(w, http.StatusBadRequest, "device and token are both needed")
			return
		}
		rules, err := load()
		if err != nil {
			log.Error("cannot read the tokens", "error", err)
			service.WriteError(w, http.StatusServiceUnavailable, "the tokens cannot be read")
			return
		}
		allowed, reason := rules.admit(request.Device, request.Token)
		log.Debug("decided", "device", request.Device, "allowed", allowed, "reason", reason)
		service.WriteJSON(w, http.StatusOK, admitResponse{Allowed: allowed, Reason: reason})
	})
	return mux
}
