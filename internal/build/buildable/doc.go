// Package buildable makes images from sources that need no Dockerfile of the
// app's: each writes its own, with its build context, for any builder to build.
//
// The type go is a main package, compiled by the go command of the machine and
// put on an empty image with the certificates of Mozilla's root programme;
// static is a folder of files behind a small server; rust-leptos an application
// that cargo-leptos compiles. Any other NAME is the executable
// harmony-buildable-NAME on PATH.
//
// What go compiles is what AppSpec says, not what the machine has set: cgo is
// off, GOFLAGS is not used, and the levels of the processor (GOAMD64, GOARM, …)
// are those of the platform. What remains of the environment, such as
// GOEXPERIMENT, GOTOOLCHAIN and a go.work file, is a part of the input.
package buildable
