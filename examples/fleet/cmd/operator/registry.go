package main

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// errFull is returned for a new device when the registry holds as many as it may.
var errFull = errors.New("the registry is full")

// A device as /devices shows it.
type device struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	Online    bool      `json:"online"`
	Reports   int       `json:"reports"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
}

// registry holds the devices in memory. It is safe for concurrent use.
type registry struct {
	mu      sync.Mutex
	devices map[string]device

	offlineAfter time.Duration // silent for longer: not online
	forgetAfter  time.Duration // silent for longer: removed
	capacity     int           // most devices that are held
	now          func() time.Time
}

// report notes that a device has been heard of.
func (r *registry) report(id, version string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().UTC()
	d, known := r.devices[id]
	if !known {
		if len(r.devices) >= r.capacity {
			r.forget(now)
		}
		if len(r.devices) >= r.capacity {
			return errFull
		}
		d = device{ID: id, FirstSeen: now}
	}
	d.Version, d.LastSeen = version, now
	d.Reports++
	r.devices[id] = d
	return nil
}

// list returns the devices, sorted by id.
func (r *registry) list() []device {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().UTC()
	r.forget(now)
	list := make([]device, 0, len(r.devices))
	for _, d := range r.devices {
		d.Online = now.Sub(d.LastSeen) <= r.offlineAfter
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b device) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (r *registry) forget(now time.Time) {
	for id, d := range r.devices {
		if now.Sub(d.LastSeen) > r.forgetAfter {
			delete(r.devices, id)
		}
	}
}
