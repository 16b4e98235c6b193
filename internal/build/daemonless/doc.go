// Package daemonless makes images without a daemon and without running
// anything: from Dockerfiles that have no RUN, and from buildables.
//
// A Dockerfile is read by BuildKit's own parser and means what it means there,
// but for what makes the result depend on the machine: times are
// SOURCE_DATE_EPOCH or 1970, the owner of files is root unless --chown says
// otherwise, and files of the context have mode 0755 where their owner may
// execute them and 0644 where not, as folders have 0755, because the rest of a
// mode comes from the umask of whoever checked the sources out. --chmod sets
// another one.
//
// The result is an OCI layout in the cache, named by the digest of everything
// that it was made from, so that the same input is not built twice.
package daemonless
