package chart

// Inputs are what the chart of an app is made from, and its values: what harmony-chart
// answers when it is asked for them.
type Inputs struct {
	App string `json:"app"`
	// Items are sorted.
	Items []Input `json:"items,omitempty"`
	// Paths are the files that were read, absolute.
	Paths []string `json:"paths,omitempty"`
	// Error says why the inputs could not be read.
	Error string `json:"error,omitempty"`
}

// Input is one file of the chart, or the values of a target. Value changes when it does.
type Input struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// InputsCommand is the command of harmony-chart that reads AppSpecs from stdin and answers
// with an Inputs, as one line of JSON, for each.
const InputsCommand = "inputs"
