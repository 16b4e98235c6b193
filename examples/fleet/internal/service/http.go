package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// MaxBody is the largest body, in bytes, that the programs read from each
// other.
const MaxBody = 64 << 10

// Health adds /healthz, which says that the process lives and which version it
// is, and /readyz, which answers 503 and the reason while ready gives an error.
func Health(mux *http.ServeMux, version string, ready func(context.Context) error) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": version})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			WriteError(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		WriteJSON(w, http.StatusOK, map[string]string{"status": "ready", "version": version})
	})
}

// WriteJSON answers with value as JSON. A client that has gone away is no
// error of ours, so that one is dropped.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// WriteError answers with {"error": message}.
func WriteError(w http.ResponseWriter, status int, message string) {
	WriteJSON(w, status, map[string]string{"error": message})
}

// ReadJSON decodes the request's body, one JSON value of at most [MaxBody]
// bytes, into value. When it cannot, it answers 400 or 413 itself and returns
// false. Unknown fields are left out, so that a newer client is understood.
func ReadJSON(w http.ResponseWriter, r *http.Request, value any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
	err := decoder.Decode(value)
	if err == nil {
		err = endOfBody(decoder)
	}
	if err == nil {
		return true
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		WriteError(w, http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB")
	} else {
		WriteError(w, http.StatusBadRequest, "the body is not the JSON that is expected")
	}
	return false
}

func endOfBody(decoder *json.Decoder) error {
	_, err := decoder.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errors.New("more than one JSON value")
	}
	return err
}
