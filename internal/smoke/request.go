package smoke

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// readHeaders replaces the values that are references by what they stand for.
func readHeaders(root string, headers map[string]string) (map[string]string, error) {
	read := make(map[string]string, len(headers))
	for name, value := range headers {
		read[name] = value
		ref, err := protocol.ParseReference(value)
		if err != nil {
			continue // a value as it is
		}
		if ref.Env != "" {
			var set bool
			if read[name], set = os.LookupEnv(ref.Env); !set {
				return nil, fmt.Errorf("headers.%s: the variable %s is not set", name, ref.Env)
			}
			continue
		}
		text, err := readFile(root, ref.File)
		if err != nil {
			return nil, fmt.Errorf("headers.%s: %w", name, err)
		}
		read[name] = strings.TrimRight(string(text), "\r\n")
	}
	return read, nil
}

// readFile reads a file of the project, of maxBody at most; no link leads out of it.
func readFile(root, path string) ([]byte, error) {
	folder, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("%s is over %d bytes", path, maxBody)
	}
	return text, err
}

// maxRedirects is how many redirects are followed.
const maxRedirects = 10

// redirect decides whether a request goes where a redirect points: with its headers and
// body only to the same host.
func (p *httpProbe) redirect(next *http.Request, sent []*http.Request) error {
	first := sent[0].URL
	switch same := next.URL.Scheme == first.Scheme && next.URL.Host == first.Host; {
	case !p.check.FollowRedirects:
		return http.ErrUseLastResponse
	case len(sent) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case same:
		return nil
	case next.Body != nil && next.Body != http.NoBody:
		return fmt.Errorf("a redirect would send the body to %s", next.URL.Host)
	case first.Scheme == "https" && next.URL.Scheme != "https":
		return fmt.Errorf("a redirect leads from https to %s://%s", next.URL.Scheme, next.URL.Host)
	default:
		next.Header = http.Header{"User-Agent": {userAgent}}
		return nil
	}
}
