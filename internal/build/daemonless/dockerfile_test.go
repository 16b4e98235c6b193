package daemonless

import (
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func sortedLines(lines []string) string {
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(pathOfLine(a), pathOfLine(b)) })
	return strings.Join(lines, "\n")
}

func pathOfLine(line string) string { return strings.Fields(line)[3] }

// trim takes the indentation away from the lines of a test.
func trim(text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}

func TestFiles(t *testing.T) {
	tests := map[string]struct {
		files      map[string]string
		dockerfile string
		want       string
	}{
		"file under a name": {
			map[string]string{"a": "A"},
			"FROM scratch\nCOPY a /b",
			"- 0644 0:0 b A",
		},
		"file into a folder, which is made": {
			map[string]string{"a": "A"},
			"FROM scratch\nCOPY a /x/y/",
			"d 0755 0:0 x\nd 0755 0:0 x/y\n- 0644 0:0 x/y/a A",
		},
		"file into a folder that is there": {
			map[string]string{"a": "A"},
			"FROM scratch\nWORKDIR /x\nCOPY a /x",
			"d 0755 0:0 x\n- 0644 0:0 x/a A",
		},
		"relative to the working folder": {
			map[string]string{"a": "A"},
			"FROM scratch\nWORKDIR /x\nWORKDIR y\nCOPY a .\nCOPY a b",
			"d 0755 0:0 x\nd 0755 0:0 x/y\n- 0644 0:0 x/y/a A\n- 0644 0:0 x/y/b A",
		},
		"what is in a folder, with executables and links": {
			map[string]string{"d/run!": "R", "d/e/f": "F", "d/l": "-> /etc/passwd", "d/empty/": ""},
			"FROM scratch\nCOPY d /x",
			`d 0755 0:0 x
			 d 0755 0:0 x/e
			 - 0644 0:0 x/e/f F
			 d 0755 0:0 x/empty
			 l 0777 0:0 x/l /etc/passwd
			 - 0755 0:0 x/run R`,
		},
		"two folders into one": {
			map[string]string{"d/a": "1", "e/a": "2", "e/b": "3"},
			"FROM scratch\nCOPY d e /x/",
			"d 0755 0:0 x\n- 0644 0:0 x/a 2\n- 0644 0:0 x/b 3",
		},
		"patterns": {
			map[string]string{"d1/a.txt": "1", "d2/b.txt": "2", "d2/c.bin": "3"},
			"FROM scratch\nCOPY d?/*.txt none*.x /",
			"- 0644 0:0 a.txt 1\n- 0644 0:0 b.txt 2",
		},
		"links are followed at the source": {
			map[string]string{"real/a": "A", "link": "-> real", "d/up": "-> ../real/a"},
			"FROM scratch\nCOPY link /x\nCOPY d/up /y",
			"d 0755 0:0 x\n- 0644 0:0 x/a A\n- 0644 0:0 y A",
		},
		"links are followed at the destination": {
			map[string]string{"d/bin": "-> usr/bin", "d/usr/bin/": "", "a": "A"},
			"FROM scratch\nCOPY d /\nCOPY a /bin/",
			"l 0777 0:0 bin usr/bin\nd 0755 0:0 usr\nd 0755 0:0 usr/bin\n- 0644 0:0 usr/bin/a A",
		},
		"an absolute source is in the context": {
			map[string]string{"d/a": "A"},
			"FROM scratch\nCOPY /d/a /",
			"- 0644 0:0 a A",
		},
		"owner and mode": {
			map[string]string{"a": "A", "d/b": "B", "etc/passwd": "root:x:0:0::/:\nweb:x:33:34::/:", "etc/group": "wheel:x:10:"},
			"FROM scratch\nCOPY etc /etc\nCOPY --chown=web a /a\nCOPY --chown=7:wheel --chmod=0700 d /n/d\nCOPY --chown=9 a /c",
			`- 0644 33:34 a A
			 - 0644 9:9 c A
			 d 0755 0:0 etc
			 - 0644 0:0 etc/group wheel:x:10:
			 - 0644 0:0 etc/passwd root:x:0:0::/:
			 web:x:33:34::/:
			 d 0700 7:10 n
			 d 0700 7:10 n/d
			 - 0700 7:10 n/d/b B`,
		},
		"an earlier stage by name, number and FROM": {
			map[string]string{"a": "A", "b": "B"},
			`FROM scratch AS One
			 COPY --chown=5:6 a b /x/
			 FROM scratch
			 COPY b /b
			 FROM one
			 COPY --from=one /x/a /fromname
			 COPY --from=1 /b /fromnumber
			 COPY --from=0 --chown=1 /x/ /all/`,
			`d 0755 1:1 all
			 - 0644 1:1 all/a A
			 - 0644 1:1 all/b B
			 - 0644 5:6 fromname A
			 - 0644 0:0 fromnumber B
			 d 0755 5:6 x
			 - 0644 5:6 x/a A
			 - 0644 5:6 x/b B`,
		},
		"variables": {
			map[string]string{"app-2": "V2"},
			"ARG V=1\nFROM scratch\nARG V\nARG DIR=/srv\nENV NAME=app-${V} EMPTY=\nCOPY ${NAME} ${DIR:-/none}/$NAME${EMPTY:+x}",
			"d 0755 0:0 srv\n- 0644 0:0 srv/app-2 V2",
		},
		"here-document": {
			nil,
			"FROM scratch\nENV W=world\nCOPY <<EOF <<'RAW' /x/\nhello $W\nEOF\n$W\nRAW",
			"d 0755 0:0 x\n- 0644 0:0 x/EOF hello world\n- 0644 0:0 x/RAW $W",
		},
		"a later file takes the place of an earlier one": {
			map[string]string{"a": "A", "b": "B"},
			"FROM scratch\nCOPY a /x\nCOPY b /x",
			"- 0644 0:0 x B",
		},
		"ADD of a file that is no archive": {
			map[string]string{"a.tar": "not really"},
			"FROM scratch\nADD a.tar /x/",
			"d 0755 0:0 x\n- 0644 0:0 x/a.tar not really",
		},
		"stages that are not needed may do what they want": {
			map[string]string{"a": "A"},
			"FROM nowhere.invalid/x AS unused\nRUN make\nFROM scratch\nCOPY a /",
			"- 0644 0:0 a A",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			app := project(t, trim(test.dockerfile), test.files)
			app.Image.Dockerfile.Args = map[string]string{"V": "2"}
			_, image := mustBuild(t, newBuilder(t), app)
			if got, want := list(t, image), trim(test.want); trim(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestIgnoreFile(t *testing.T) {
	files := map[string]string{
		"keep": "1", "drop.log": "2", "d/drop.log": "3", "d/keep.log": "4", "node_modules/x": "5", "deep/a/b/keep": "6", "deep/c": "7",
	}
	for name, test := range map[string]struct{ file, content, want string }{
		"patterns and exceptions": {
			".dockerignore", "# comment\n**/*.log\n!d/keep.log\nnode_modules\ndeep\n!deep/a/b/keep\nDockerfile*\n.dockerignore",
			`d 0755 0:0 d
			 - 0644 0:0 d/keep.log 4
			 d 0755 0:0 deep
			 d 0755 0:0 deep/a
			 d 0755 0:0 deep/a/b
			 - 0644 0:0 deep/a/b/keep 6
			 - 0644 0:0 keep 1`,
		},
		"the one of the Dockerfile comes first": {
			"Dockerfile.dockerignore", "*\n!keep",
			"- 0644 0:0 keep 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := project(t, "FROM scratch\nCOPY . /", files)
			write(t, app.ProjectRoot, map[string]string{".dockerignore": "keep"})
			write(t, app.ProjectRoot, map[string]string{test.file: test.content})
			_, image := mustBuild(t, newBuilder(t), app)
			if got, want := list(t, image), trim(test.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestConfiguration(t *testing.T) {
	app := project(t, trim(`
		FROM scratch AS base
		ENTRYPOINT ["/base"]
		CMD ["base"]
		ENV A=1 B="two words"
		ARG A=hidden
		FROM base
		ARG A
		ENV C=$A$B
		SHELL ["/bin/bash", "-ec"]
		ENTRYPOINT run "$HOME" it
		EXPOSE 80 8000-8001/udp
		LABEL a=1 b="x y"
		USER 1000:1000
		WORKDIR /srv
		VOLUME ["/data", "/more"]
		STOPSIGNAL SIGINT
		HEALTHCHECK --interval=5s --retries=2 CMD ["/check"]
		MAINTAINER someone`), nil)
	_, image := mustBuild(t, newBuilder(t), app)
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	for _, check := range []struct{ name, got, want string }{
		{"platform", file.OS + "/" + file.Architecture, "linux/amd64"},
		{"created", file.Created.UTC().Format("2006-01-02"), "1970-01-01"},
		{"author", file.Author, "someone"},
		{"entrypoint", strings.Join(c.Entrypoint, "|"), `/bin/bash|-ec|run "$HOME" it`},
		{"cmd of the base is gone", strings.Join(c.Cmd, "|"), ""},
		{"env", strings.Join(c.Env, "|"), "PATH=" + defaultPath + "|A=1|B=two words|C=1two words"},
		{"user", c.User, "1000:1000"},
		{"workdir", c.WorkingDir, "/srv"},
		{"stop signal", c.StopSignal, "SIGINT"},
		{"health", strings.Join(c.Healthcheck.Test, "|") + c.Healthcheck.Interval.String(), "CMD|/check5s"},
		{"label", c.Labels["b"], "x y"},
	} {
		if check.got != check.want {
			t.Errorf("%s: %q, want %q", check.name, check.got, check.want)
		}
	}
	for _, port := range []string{"80/tcp", "8000/udp", "8001/udp"} {
		if _, ok := c.ExposedPorts[port]; !ok {
			t.Errorf("port %s is not exposed: %v", port, c.ExposedPorts)
		}
	}
	if len(c.Volumes) != 2 {
		t.Errorf("volumes %v", c.Volumes)
	}
}

func TestRefusals(t *testing.T) {
	files := map[string]string{
		"a": "A", "b": "B", "d/x": "X", "out": "-> ../../etc/passwd", "abs": "-> /etc/passwd", "loop": "-> loop", "outdir": "-> ..",
		"secret": "S", ".dockerignore": "secret",
	}
	tests := map[string]struct {
		dockerfile string
		code       int
		want       string
	}{
		"run":                   {"FROM scratch\n# x\n\nRUN make \\\n  all", 3, "Dockerfile:4: RUN … needs a builder that runs commands"},
		"run in a needed stage": {"FROM scratch AS a\nRUN make\nFROM scratch\nCOPY --from=a /x /", 3, "Dockerfile:2: RUN … needs"},
		"run before network":    {"FROM nowhere.invalid/x\nRUN make", 3, "Dockerfile:2: RUN … needs"},
		"url":                   {"FROM scratch\nADD https://example.com/x /", 3, "Dockerfile:2: ADD of https://example.com/x has no --checksum"},
		"url in a variable":     {"FROM scratch\nARG U=https://example.com/x\nADD $U /", 3, "Dockerfile:3: ADD of https://example.com/x has no --checksum"},
		"git":                   {"FROM scratch\nADD git@example.com:x /", 3, "Dockerfile:2: ADD of "},
		"trigger that runs":     {"FROM scratch AS a\nONBUILD RUN make\nFROM a", 3, "Dockerfile:3: RUN … needs"},
		"parents of nothing":    {"FROM scratch\nCOPY --parents d/nope /", 2, "Dockerfile:2: d/nope: no such file or folder"},
		"bad mode":              {"FROM scratch\nCOPY --chmod=rwx a /", 2, "Dockerfile:2: --chmod=rwx: a mode is octal"},
		"too large mode":        {"FROM scratch\nCOPY --chmod=10000 a /", 2, "Dockerfile:2: --chmod=10000: a mode is octal"},
		"link with a name":      {"FROM scratch\nCOPY --link --chown=web a /", 2, "Dockerfile:2: --chown=web: user: "},
		"workdir of nobody":     {"FROM scratch\nUSER web\nWORKDIR /x", 2, "Dockerfile:3: WORKDIR /x belongs to USER web: user: "},
		"bad checksum":          {"FROM scratch\nADD --checksum=sha256:12 https://example.com/x /", 2, "Dockerfile:2: --checksum=sha256:12: "},
		"syntax":                {"# syntax=example.com/frontend\nFROM scratch", 3, "Dockerfile:1: the syntax example.com/frontend"},
		"unknown instruction":   {"FROM scratch\nCOPPY a /", 2, "Dockerfile:2: unknown instruction: COPPY"},
		"bad flag":              {"FROM scratch\nCOPY --chwn=1 a /", 2, "Dockerfile:2: unknown flag: --chwn"},
		"no destination":        {"FROM scratch\nCOPY a", 2, "Dockerfile:2: COPY requires at least two arguments"},
		"no from":               {"# nothing", 2, "Dockerfile:"},
		"instruction first":     {"COPY a /", 2, "Dockerfile:1: no build stage"},
		"empty from":            {"ARG X\nFROM ${X}", 2, "Dockerfile:2: FROM ${X} expands to an empty name"},
		"missing source":        {"FROM scratch\n\nCOPY nope /", 2, "Dockerfile:3: nope: no such file or folder in the context"},
		"ignored source":        {"FROM scratch\nCOPY secret /", 2, "Dockerfile:2: secret is excluded by the .dockerignore file"},
		"climbing source":       {"FROM scratch\nCOPY ../x /", 2, "Dockerfile:2: ../x leads out of the context"},
		"hidden climbing":       {"FROM scratch\nCOPY d/../../x /", 2, "leads out of the context"},
		"link out":              {"FROM scratch\nCOPY out /", 2, "leads out of the context"},
		"absolute link":         {"FROM scratch\nCOPY abs /", 2, "leads out of the context"},
		"through a link out":    {"FROM scratch\nCOPY outdir/x /", 2, "Dockerfile:2: outdir/x"},
		"pattern through link":  {"FROM scratch\nCOPY outdir/* /", 2, "Dockerfile:2: outdir/*"},
		"link to itself":        {"FROM scratch\nCOPY loop /", 2, "too many symbolic links"},
		"bad pattern":           {"FROM scratch\nCOPY [ /", 2, "Dockerfile:2: [: syntax error in pattern"},
		"file over a folder":    {"FROM scratch\nWORKDIR /x/a\nCOPY a /x/", 2, "Dockerfile:3: /x/a is a folder"},
		"folder over a file":    {"FROM scratch\nCOPY a /x\nCOPY d /x", 2, "Dockerfile:3: /x is there and not a folder"},
		"workdir over a file":   {"FROM scratch\nCOPY a /x\nWORKDIR /x/y", 2, "Dockerfile:3: /x is not a folder"},
		"unknown user":          {"FROM scratch\nCOPY --chown=web a /", 2, `Dockerfile:2: --chown=web: user: "web" cannot be looked up`},
		"missing in stage":      {"FROM scratch AS s\nFROM scratch\nCOPY --from=s /x /", 2, "Dockerfile:3: /x: no such file or folder in what --from names"},
		"stage number":          {"FROM scratch\nCOPY --from=7 /x /", 2, "Dockerfile:2: --from=7: no earlier stage"},
		"variable in from":      {"FROM scratch\nARG S\nCOPY --from=$S /x /", 2, "Dockerfile:3: COPY --from=$S: variables are not allowed"},
		"port":                  {"FROM scratch\nEXPOSE 70000", 2, "Dockerfile:2: EXPOSE 70000"},
		"signal":                {"FROM scratch\nSTOPSIGNAL SIGNOPE", 2, "Dockerfile:2: "},
		"variable syntax":       {"FROM scratch\nENV A=${B", 2, "Dockerfile:2: "},
		"platform":              {"FROM --platform=nope scratch", 2, "Dockerfile:1: FROM --platform=nope"},
		"bad image name":        {"FROM Not:An:Image", 2, "Dockerfile:1: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			app := project(t, test.dockerfile, files)
			b := newBuilder(t)
			ref, err := b.BuildImage(t.Context(), app)
			if err == nil {
				t.Fatalf("no error, but %v", ref)
			}
			if code := protocol.ExitCode(err); code != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %q; want status %d, %q", code, err, test.code, test.want)
			}
			if test.code == protocol.ExitUnsupported && !strings.Contains(protocol.HintOf(err), "adapter: docker") {
				t.Errorf("hint %q does not name an adapter", protocol.HintOf(err))
			}
			if left := leftOver(t, b.cache); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
