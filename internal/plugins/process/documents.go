package process

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Send sends typed documents of one app, that of the first, and opens the app's
// mailbox. The error of a stage that is gone is what it told.
func (p *Process) Send(specs ...protocol.Spec) error {
	documents, err := encode(specs)
	if err != nil {
		return err
	}
	app := specs[0].Identity().Name
	if p.write(app, documents) == nil {
		return nil
	}
	<-p.ended
	_, told := p.drain(app, "")
	return told
}

// Introduce sends documents ahead of those that make work of them: a topology, or
// those of one app. A stage that is gone already says why when it is asked for
// work.
func (p *Process) Introduce(specs ...protocol.Spec) error {
	documents, err := encode(specs)
	if err == nil {
		_ = p.write(specs[0].Identity().Name, documents)
	}
	return err
}

func encode(specs []protocol.Spec) ([]protocol.Document, error) {
	documents := make([]protocol.Document, len(specs))
	for i, s := range specs {
		d, err := protocol.Encode(s)
		if err != nil {
			return nil, err
		}
		documents[i] = d
	}
	return documents, nil
}

// Await waits for a typed document of an app, or for the failure that comes in
// its place.
func Await[S any, P protocol.Decodable[S]](ctx context.Context, p *Process, app string, kind protocol.Kind) (S, error) {
	d, err := p.Await(ctx, app, kind)
	if err != nil {
		var none S
		return none, err
	}
	return protocol.Decode[S, P](d)
}

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

// deliver puts a document into the mailbox of its app; one of the whole stage
// into all of them, those that are yet to be opened too.
func (p *Process) deliver(d protocol.Document) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.Metadata.Name == "" {
		p.whole = append(p.whole, d)
	}
	for app, box := range p.mailboxes {
		if d.Metadata.Name != app && d.Metadata.Name != "" {
			continue
		}
		select {
		case box <- d:
		default: // a stage that floods an app with documents loses the surplus
		}
	}
}

// write writes documents to the stage and opens the mailbox of the app. It fails
// when the stage is gone.
func (p *Process) write(app string, documents []protocol.Document) error {
	p.mu.Lock()
	if p.mailboxes[app] == nil {
		box := make(chan protocol.Document, mailboxSize)
		for _, d := range p.whole[:min(len(p.whole), mailboxSize)] {
			box <- d
		}
		p.mailboxes[app] = box
	}
	for _, d := range documents {
		p.sent[string(d.Bytes())]++
	}
	p.mu.Unlock()
	for _, d := range documents {
		if err := p.in.Write(d); err != nil {
			return err
		}
	}
	return nil
}

// Await returns the next document of a kind for an app, or the failure that
// came in its place.
func (p *Process) Await(ctx context.Context, app string, kind protocol.Kind) (protocol.Document, error) {
	p.mu.Lock()
	box := p.mailboxes[app]
	p.mu.Unlock()
	for {
		select {
		case d := <-box:
			if found, err := match(d, kind); found || err != nil {
				return d, err
			}
		case <-p.ended:
			if err := context.Cause(ctx); err != nil {
				return protocol.Document{}, err
			}
			return p.drain(app, kind)
		}
	}
}

// drain looks through what had arrived before the stage ended. It answers with
// the document of the kind, or with an error.
func (p *Process) drain(app string, kind protocol.Kind) (protocol.Document, error) {
	p.mu.Lock()
	box := p.mailboxes[app]
	p.mu.Unlock()
	for {
		select {
		case d := <-box:
			if found, err := match(d, kind); found || err != nil {
				return d, err
			}
		default:
			return protocol.Document{}, p.Died()
		}
	}
}

// match reports whether a document is of the kind; a failure is an error.
func match(d protocol.Document, kind protocol.Kind) (bool, error) {
	if err := Failure(d); err != nil {
		return false, err
	}
	return d.Kind == kind, nil
}

// Failure is the error that a document tells, nil for one that tells none.
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

// Died says that the stage is gone without an answer.
func (p *Process) Died() error {
	return &protocol.Error{
		Code: protocol.ExitFailed, Err: p.broken,
		Message: fmt.Sprintf("%s ended without a result", p.path),
		Hint:    "run the same command again: what was done is found and not done twice",
	}
}

// Each hands an app's documents to take, as they come, until the stage has ended
// or take fails.
func (p *Process) Each(ctx context.Context, app string, take func(protocol.Document) error) error {
	p.mu.Lock()
	box := p.mailboxes[app]
	p.mu.Unlock()
	for {
		select {
		case d := <-box:
			if err := take(d); err != nil {
				return err
			}
		case <-p.ended:
			// What had arrived before is still in the box.
			for len(box) > 0 {
				if err := take(<-box); err != nil {
					return err
				}
			}
			return context.Cause(ctx)
		}
	}
}
