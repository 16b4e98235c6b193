// Package buildable makes images from sources that need no Dockerfile.
//
// The only one is go: a main package, compiled by the go command of the machine
// and put on an empty image with the certificates of Mozilla's root programme.
//
// What is built is what AppSpec says, not what the machine has set: cgo is off,
// GOFLAGS is not used, and the levels of the processor (GOAMD64, GOARM, …) are
// those of the platform. What remains of the environment, such as
// GOEXPERIMENT, GOTOOLCHAIN and a go.work file, is a part of the input digest.
package buildable
