// Package inputs finds out, quickly and reliably, whether the inputs of an image
// have changed.
//
// [Digests] remembers the content digest of files together with the size,
// inode, mode, modification and change times that they had, so that an
// unchanged file is not read again. The change time is what makes this safe: it
// cannot be set, so an edit that keeps size and modification time is seen. A
// file that was changed within two seconds before it was read is read again the
// next time, because a second change may have got the same times.
//
// [Trace] lists everything that was read to work out an answer: files, folders,
// names that did not exist. While all of them are unchanged, the answer holds.
//
// Both are kept in a cache folder and can be deleted at any time.
package inputs
