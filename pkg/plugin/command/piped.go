package command

// Piped reports whether stdin brings documents.
func (s Streams) Piped() bool { return isStream(s.In) }
