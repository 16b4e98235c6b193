package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/nationtech/harmony/internal/cli/term"
)

const (
	// maxLog is when a log is put aside, as log.old, before the next start.
	maxLog = 1 << 20
	// tailBytes and tailLines are how much of a log an error shows.
	tailBytes = 4 << 10
	tailLines = 20
)

// logTo sends the server's errors to w. It has one logger for the process.
func logTo(w io.Writer) {
	logrus.SetOutput(w)
	logrus.SetLevel(logrus.ErrorLevel)
	logrus.SetFormatter(withoutMisses{new(logrus.TextFormatter)})
}

// withoutMisses leaves out what the server calls an error and is a plain no: a
// client looks whether a blob or tag is there before it pushes it.
type withoutMisses struct{ logrus.Formatter }

// Format implements [logrus.Formatter].
func (f withoutMisses) Format(entry *logrus.Entry) ([]byte, error) {
	switch fmt.Sprint(entry.Data["err.code"]) {
	case "blob unknown", "manifest unknown", "name unknown":
		return nil, nil
	}
	return f.Formatter.Format(entry)
}

// logTail reads what was written to a log since it was opened.
type logTail struct {
	path   string
	offset int64
}

func openLog(path string) (*os.File, *logTail, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		// Of two starts at once the second finds nothing to rename.
		if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, &logTail{path, info.Size()}, nil
}

// read returns the last lines, or why there are none.
func (t *logTail) read() string {
	file, err := os.Open(t.path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(file, max(t.offset, size-tailBytes), tailBytes))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(term.Clean(string(text))), "\n")
	if last := lines[max(0, len(lines)-tailLines):]; strings.Join(last, "") != "" {
		return strings.Join(last, "\n")
	}
	return fmt.Sprintf("nothing (%s)", t.path)
}
