package server

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"
)

// Status is what is known of a registry.
type Status struct {
	Running bool `json:"running"`
	// Address is where it listens, and PID its process, while it runs.
	Address string `json:"address,omitempty"`
	PID     int    `json:"pid,omitempty"`
	// Data is its storage and DataBytes the size of it; Log is its log file.
	Data      string `json:"data"`
	DataBytes int64  `json:"dataBytes"`
	Log       string `json:"log"`

	asked string
}

// Look reports whether a registry runs on the folder, and where. It changes
// nothing and does not measure the storage.
func Look(folder Folder) (Status, error) {
	status := Status{Data: folder.Data(), Log: folder.Log()}
	pid, err := folder.holder()
	if err != nil || pid == 0 {
		return status, err
	}
	l, err := folder.readListening(pid)
	status.Running, status.PID, status.Address, status.asked = true, pid, l.Address, l.Asked
	return status, err
}

// Measure fills in the size of the storage, in bytes.
func (s *Status) Measure() error {
	return filepath.WalkDir(s.Data, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				s.DataBytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no storage yet, or a file that a push has moved
		}
		return err
	})
}

// answers reports whether the registry API is served at the address.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v2/", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
