package suite

import (
	"os"
	"path/filepath"
)

// Folder is the folder of this very file, in which the suite's other binaries
// lie; "" when the system does not tell.
func Folder() string {
	file, err := os.Executable()
	if err != nil {
		return ""
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return ""
	}
	return filepath.Dir(file)
}
