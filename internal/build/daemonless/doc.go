// Package daemonless makes images without a daemon and without running
// anything: from Dockerfiles whose target needs no RUN.
//
// A Dockerfile is read by BuildKit's own parser and means what it means there,
// which test/differential proves on a corpus of Dockerfiles, but for what makes
// the result depend on the machine or on the day:
//
//   - Times are SOURCE_DATE_EPOCH or 1970.
//   - Files of the context belong to root and have mode 0755 where their owner
//     may execute them, 0644 where not, folders 0755, because the rest of a mode
//     comes from the umask of whoever checked the sources out. --chmod sets
//     another one.
//   - ADD of a URL needs a --checksum. The file is downloaded once and kept.
//   - A name that is not in /etc/passwd or /etc/group is refused, in --chown and
//     as the owner of a WORKDIR; BuildKit takes root for it.
//   - A source above the context, such as ../a, is refused; BuildKit takes a.
//   - A WORKDIR that is there already makes no layer, where BuildKit makes an
//     empty one. Hard links become files of the same content.
//
// Unsupported, with status protocol.ExitUnsupported and the name of an adapter
// that can: RUN, frontends of # syntax=, ADD from git, devices, pipes and sparse
// files in archives, an ONBUILD of a base that runs or copies from elsewhere. An
// archive that unpacks to more than 1 GiB and to more than 100 times its own size
// is invalid. One that is compressed with xz needs the program xz.
//
// The result is an OCI layout in the cache, named by the digest of everything
// that it was made from, so that the same input is not built twice. The layers
// of a base image that is in the registry that the image is going to are left
// there: see package ocilayout. They are downloaded only to read the base's file
// system, which COPY --link and ADD --link do not need.
package daemonless
