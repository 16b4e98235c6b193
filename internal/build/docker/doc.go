// Package docker is the adapter that has a Docker-compatible daemon make
// images: by the BuildKit in it, or by its classic builder where it has none, as
// podman's service. No docker command is run.
//
// The image stays in the daemon, under a name made of its input digest;
// publishing takes it out of there.
package docker
