package protocol

// BuildContext is the answer of an executable harmony-buildable-NAME: the
// Dockerfile and context that it wrote into the folder that it was given.
type BuildContext struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Context is the context folder, relative to the folder given; that folder
	// when empty.
	Context string `json:"context,omitempty"`
	// Dockerfile is its path, relative to the folder given; Dockerfile in the
	// context when empty.
	Dockerfile string `json:"dockerfile,omitempty"`
	// Target is the stage to build; the last one when empty.
	Target string `json:"target,omitempty"`
	// Args are build arguments. They end up in the image's history: no secrets.
	Args map[string]string `json:"args,omitempty"`
	// Inputs are the files and folders that the context was made from, absolute
	// or relative to the project root; they need not exist. As long as they, the
	// AppSpec and the executable stay as they are, it is not run again. Without
	// any it is run each time.
	Inputs []string `json:"inputs,omitempty"`
}

// DocumentKind implements [Spec].
func (BuildContext) DocumentKind() Kind { return KindBuildContext }
