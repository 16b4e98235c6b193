// Package dockerfile reads a Dockerfile and the context that it is built from.
//
// A Dockerfile is read by BuildKit's own parser and means what it means there.
// Of a context only what the ignore file leaves is seen, nothing outside of the
// folder is reached, and what cannot be a part of an image is refused.
package dockerfile
