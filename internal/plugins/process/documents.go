package process

import (
	"context"
	"fmt"
	"slices"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxWaiting limits the documents of one app in its mailbox: a stage that writes more
// is broken.
const maxWaiting = 10_000

// Send sends typed documents of one app, that of the first, and opens the app's
// mailbox. If the stage has exited, the error is reported when its answer is awaited.
func (p *Process) Send(specs ...protocol.Spec) error {
	documents := make([]protocol.Document, len(specs))
	for i, s := range specs {
		d, err := protocol.Encode(s)
		if err != nil {
			return err
		}
		documents[i] = d
	}
	p.open(specs[0].Identity().Name, documents)
	for _, d := range documents {
		if p.in.Write(d) != nil {
			break
		}
	}
	return nil
}

// open opens the mailbox of an app and records the documents that the stage will
// forward.
func (p *Process) open(app string, documents []protocol.Document) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, open := p.mailboxes[app]; !open {
		p.mailboxes[app] = slices.Clone(p.whole)
	}
	for _, d := range documents {
		p.sent[string(d.Bytes())]++
	}
}

// forwarded reports whether a document is one that was sent to the stage.
func (p *Process) forwarded(d protocol.Document) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := string(d.Bytes())
	if p.sent[line] == 0 {
		return false
	}
	p.sent[line]--
	return true
}

// deliver puts a result into the mailbox of its app. A result of the whole stage goes
// into all mailboxes, including those opened later.
func (p *Process) deliver(d protocol.Document) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := d.Metadata.Name
	if name == "" {
		p.whole = append(p.whole, d)
	}
	for app, box := range p.mailboxes {
		if name != app && name != "" {
			continue
		}
		if len(box) == maxWaiting {
			return fmt.Errorf("%s wrote more than %d documents for %s", p.path, maxWaiting, app)
		}
		p.mailboxes[app] = append(box, d)
	}
	p.arrived.Broadcast()
	return nil
}

// next waits for the next result in the app's mailbox and takes it; false once the
// stage has ended.
func (p *Process) next(app string) (protocol.Document, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.mailboxes[app]) == 0 {
		if p.over {
			return protocol.Document{}, false
		}
		p.arrived.Wait()
	}
	d := p.mailboxes[app][0]
	p.mailboxes[app] = p.mailboxes[app][1:]
	return d, true
}

// Await waits for a typed document of an app, or for a failure in its place.
func Await[S any, P protocol.Decodable[S]](ctx context.Context, p *Process, app string) (S, error) {
	var s S
	for {
		d, ok := p.next(app)
		if !ok {
			if err := context.Cause(ctx); err != nil {
				return s, err
			}
			return s, p.Died()
		}
		if err := Failure(d); err != nil {
			return s, err
		}
		if d.Kind == P(&s).DocumentKind() {
			return protocol.Decode[S, P](d)
		}
	}
}

// AwaitFailure waits for the failure that follows a bad result of an app.
func (p *Process) AwaitFailure(ctx context.Context, app string) error {
	_, err := Await[protocol.Failure](ctx, p, app)
	return err
}

// Each passes an app's documents to take as they arrive, until the stage has ended or
// take fails.
func (p *Process) Each(ctx context.Context, app string, take func(protocol.Document) error) error {
	for {
		d, ok := p.next(app)
		if !ok {
			return context.Cause(ctx)
		}
		if err := take(d); err != nil {
			return err
		}
	}
}

// Failure is the error of a Failure document; nil for other kinds.
func Failure(d protocol.Document) error {
	if d.Kind != protocol.KindFailure {
		return nil
	}
	failure, err := protocol.Decode[protocol.Failure](d)
	if err != nil {
		return err
	}
	return failure.Err()
}

// Died reports that the stage exited without answering.
func (p *Process) Died() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &protocol.Error{
		Code: protocol.ExitFailed, Err: p.broken,
		Message: fmt.Sprintf("%s ended without a result", p.path),
		Hint:    "run the same command again: completed work is not repeated",
	}
}
