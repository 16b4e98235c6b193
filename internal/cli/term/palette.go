package term

// palette colours text when it is on.
type palette struct{ on bool }

// coloured is a text that may hold the escapes of a palette, and nothing from
// elsewhere that was not cleaned.
type coloured string

func (p palette) paint(code, s string) coloured {
	s = Clean(s)
	if !p.on {
		return coloured(s)
	}
	return coloured("\x1b[" + code + "m" + s + "\x1b[0m")
}

func (p palette) green(s string) coloured  { return p.paint("32", s) }
func (p palette) red(s string) coloured    { return p.paint("31", s) }
func (p palette) yellow(s string) coloured { return p.paint("33", s) }
func (p palette) bold(s string) coloured   { return p.paint("1", s) }
func (p palette) dim(s string) coloured    { return p.paint("2", s) }
