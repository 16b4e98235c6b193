// Package differential builds a corpus of Dockerfiles with BuildKit and with
// the adapter daemonless, and compares the images: what every file is like, and
// the configuration.
//
// Each file of testdata is one case in the txtar format. Its sections are the
// files of the context, Dockerfile among them, but for those that have a
// prefix:
//
//	tar:NAME     a list of entries, packed as NAME with the compression of its
//	             suffix (.tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst)
//	base64:NAME  a binary file
//	base:NAME    a base image, pushed as registry.test/NAME: a first line with
//	             its configuration, then lists of entries, a line "layer" before
//	             each, and a line "platform os/arch" before those of a platform
//	http:NAME    a file that http://files.test/NAME answers with
//
// An entry of a list is KIND MODE UID:GID PATH [CONTENT], with tar's letters for
// kinds: - file, d folder, l symbolic link, h hard link (both with the target as
// CONTENT), c device, p pipe. The names registry.test and files.test in a
// Dockerfile are replaced by real ones.
//
// Lines of the comment that begin with one of these words change the context
// or the build; others say what the case is about:
//
//	arg NAME=VALUE          target STAGE             platform OS/ARCH
//	dockerfile PATH         mkdir PATH               chmod MODE PATH
//	symlink PATH TARGET     hardlink PATH TARGET
//	fails CODE TEXT         both refuse it, daemonless with this status and text
//	refused TEXT            only daemonless refuses it, with status 3 or 2
//	layers REASON           the numbers of layers differ, and why
//
// Besides, a generator makes contexts and Dockerfiles out of seeds. Only images
// are compared there, and that both refuse what either refuses.
package differential
