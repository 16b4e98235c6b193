// Package daemon is the connection to a Docker-compatible daemon, such as
// dockerd or podman's service: the one that the docker command would use, found
// by the same variables and files. No docker command is run on this machine.
//
// It speaks only the few calls of the Engine API that building an image and
// taking it out again need.
package daemon
