package discovery

import (
	"os"
	"path/filepath"
	"strings"
)

// installedVersion is the version in the link of an installed plugin, which leads
// to ../plugins/NAME/VERSION-HASH/files/…; "" for another file.
func installedVersion(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	name := strings.TrimPrefix(filepath.Base(path), Prefix)
	rest, ours := strings.CutPrefix(filepath.ToSlash(target), "../plugins/"+name+"/")
	folder, _, inside := strings.Cut(rest, "/files/")
	at := strings.LastIndexByte(folder, '-')
	if !ours || !inside || at < 0 {
		return ""
	}
	return folder[:at]
}
