// Package reason tells by their words which messages of a cluster are about something that
// no retry can mend.
package reason

import "regexp"

// What container runtimes, kubelets, API servers and deliverers say of what no
// retry can mend; and of what a retry may, which counts for more: a message can
// hold both, for example when one of two mirrors is away.
var (
	finalWords = regexp.MustCompile(`(?i)not found|(manifest|name|repository) (name )?(unknown|invalid)|unauthorized|denied|forbidden|no match for platform|` +
		`no matching manifest|invalid reference|no basic auth credentials|authentication required|` +
		`runAsNonRoot|violates PodSecurity|unable to validate against any security context|is invalid:|field is immutable|` +
		`progress deadline|backoff limit|InvalidImageName|ErrImageNeverPull`)
	passingWords = regexp.MustCompile(`(?i)connection (refused|reset)|no such host|server misbehaving|temporary failure|time(d )?-?out|deadline exceeded|` +
		`unreachable|no route to host|broken pipe|\bEOF\b|toomanyrequests|too many requests|rate limit|pull QPS exceeded|` +
		`service unavailable|bad gateway|internal server error|server error|\b50[0234]\b|failed calling webhook|exceeded quota|no space left`)
	missing = regexp.MustCompile(`(?i)(configmap|secret|serviceaccount|service account|persistentvolumeclaim)s? .*not found`)
)

// Final reports a message of a runtime, an API server or a deliverer about
// what no retry can mend, such as an image that does not exist. What is missing
// on the cluster may be made yet.
func Final(message string) bool {
	return finalWords.MatchString(message) && !Passes(message) && !missing.MatchString(message)
}

// Passes reports a message about a server that was away or busy.
func Passes(message string) bool { return passingWords.MatchString(message) }
