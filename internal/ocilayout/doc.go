// Package ocilayout packs images into OCI layout folders, and keeps those in a
// cache by the digest of what they were made from.
//
// What it writes depends on its arguments only: entries are sorted, times are
// the one time given, there are no user names, and compression gives the same
// bytes however many processors there are. Memory does not grow with the size
// of an image: layers go through to files.
//
// A layout folder appears under its final name when it is complete.
package ocilayout
