package dockerfile

import "testing"

func TestPlace(t *testing.T) {
	c := Context{Name: "Dockerfile", Text: []byte("FROM a\nRUN one && \\\n  two\n\nRUN same\nRUN same\nRUN s\n")}
	for instruction, want := range map[string]string{
		"FROM a":             "Dockerfile:1: FROM a",
		"RUN one &&   two":   "Dockerfile:2: RUN one &&   two",
		"RUN same":           "Dockerfile: RUN same",
		"COPY nowhere /here": "Dockerfile: COPY nowhere /here",
		"":                   "Dockerfile: ",
	} {
		if got := c.Place(instruction); got != want {
			t.Errorf("%q: got %q, want %q", instruction, got, want)
		}
	}
}
