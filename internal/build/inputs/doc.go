// Package inputs tells quickly and surely whether what an image is made from
// has changed.
//
// [Digests] remembers the content digest of files together with the size,
// inode, mode, modification and change times that they had, so that an
// unchanged file is not read again. The change time is what makes this safe: it
// cannot be set, so an edit that keeps size and modification time is seen. A
// file that was changed within two seconds before it was read is read again the
// next time, because a second change may have got the same times.
//
// [Trace] is a list of everything that was looked at to find some answer:
// files, folders, names that did not exist. As long as each of them would be
// found again as it was, the answer still holds.
//
// Both are kept in a cache folder and can be lost at any time.
package inputs
