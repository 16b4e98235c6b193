package daemonless

import (
	"archive/tar"
	"fmt"
	"strconv"

	"github.com/tonistiigi/dchapes-mode"

	"github.com/nationtech/harmony/internal/build/dockerfile"
)

// chmod is the mode of --chmod: octal, or symbolic such as u=rwX,go=rX.
type chmod struct {
	given    bool
	octal    int64
	symbolic *mode.Set
}

func parseChmod(text string) (chmod, error) {
	if text == "" {
		return chmod{}, nil
	}
	octal, err := strconv.ParseInt(text, 8, 32)
	if err == nil && octal >= 0 && octal <= 0o7777 {
		return chmod{given: true, octal: octal}, nil
	}
	set, err := mode.ParseWithUmask(text, 0)
	if err != nil || text[0] >= '0' && text[0] <= '9' {
		return chmod{}, fmt.Errorf("--chmod=%s: a mode is octal, 0 to 07777, or like u=rwX,go=rX", text)
	}
	return chmod{given: true, symbolic: &set}, nil
}

// folder is the mode of folders that are made on the way to a destination.
func (c chmod) folder() int64 {
	if !c.given || c.symbolic != nil {
		return 0o755
	}
	return c.octal & 0o777
}

// apply is the mode of something with the mode old.
func (c chmod) apply(old int64, folder bool) int64 {
	switch {
	case !c.given:
		return old
	case c.symbolic == nil:
		return c.octal
	}
	header := tar.Header{Typeflag: tar.TypeReg, Mode: old}
	if folder {
		header.Typeflag = tar.TypeDir
	}
	return dockerfile.Mode(c.symbolic.Apply(header.FileInfo().Mode()))
}
