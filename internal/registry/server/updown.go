package server

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	startDeadline = 15 * time.Second
	stopDeadline  = drain + 5*time.Second
	killDeadline  = 5 * time.Second
	// look is how often the state is checked while it should change.
	look = 10 * time.Millisecond
)

// Up makes sure that a registry runs in the background on the folder, and
// returns when it answers. command is the program, with its first arguments,
// that serves with the folder and the options as flags. Of several Up at once
// one starts it and all succeed. An empty address takes what runs already.
func Up(ctx context.Context, folder Folder, o Options, command ...string) (Status, error) {
	address, err := o.address()
	if err != nil {
		return Status{}, err
	}
	if err := folder.create(); err != nil {
		return Status{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startDeadline, fmt.Errorf("the registry does not answer after %s", startDeadline))
	defer cancel()
	var child *background
	for {
		ended := child.ended()
		status, err := Look(folder)
		switch {
		case err != nil:
			return status, err
		case status.Running && status.Address != "" && answers(ctx, status.Address):
			return status, sameAddress(status, o)
		case status.Running:
		case child == nil:
			if child, err = start(folder, append(command, "--state", string(folder), "--addr", address, fmt.Sprintf("--allow-remote=%t", o.AllowRemote))); err != nil {
				return status, err
			}
		case ended:
			return status, child.failed(nil)
		}
		select {
		case <-ctx.Done():
			return status, child.failed(context.Cause(ctx))
		case <-time.After(look):
		}
	}
}

// sameAddress refuses to take a registry elsewhere for the one asked for.
func sameAddress(status Status, o Options) error {
	if o.Address == "" || o.Address == status.Address || o.Address == status.asked {
		return nil
	}
	failed := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("the registry already runs at %s, not at %s", status.Address, o.Address)}
	return failed.WithHint("harmony registry down, then up again")
}

type background struct {
	done <-chan struct{}
	log  *logTail
}

// start runs a command in its own session, so that neither the terminal's
// end nor its signals reach it. Its output goes to the folder's log.
func start(folder Folder, command []string) (*background, error) {
	log, tail, err := openLog(folder.Log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	child, err := process.Detach(process.Command{Args: command, Dir: string(folder), Stdout: log, Stderr: log})
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	return &background{done: child.Done(), log: tail}, nil // how it failed is in the log
}

func (b *background) ended() bool {
	if b == nil {
		return false
	}
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// failed is the error of a start that came to nothing, with what the log says.
func (b *background) failed(cause error) error {
	if b == nil {
		return cause
	}
	if cause == nil {
		cause = errors.New("the registry exited at once")
	}
	return fmt.Errorf("%w; its log:\n%s", cause, b.log.read())
}

// Down ends the registry of the folder, the hard way when it does not end by
// itself. It returns the process that it ended, 0 when none ran.
func Down(ctx context.Context, folder Folder) (int, error) {
	pid, err := folder.holder()
	if err != nil || pid == 0 {
		return 0, err
	}
	for _, step := range []struct {
		signal   syscall.Signal
		deadline time.Duration
	}{{syscall.SIGTERM, stopDeadline}, {syscall.SIGKILL, killDeadline}} {
		gone, err := end(ctx, folder, pid, step.signal, step.deadline)
		if gone || err != nil {
			return pid, err
		}
	}
	return pid, fmt.Errorf("process %d still serves %s after SIGKILL", pid, folder)
}

// end sends the signal, while the process still holds the lock, and waits until
// it does not.
func end(ctx context.Context, folder Folder, pid int, signal syscall.Signal, deadline time.Duration) (gone bool, err error) {
	if now, err := folder.holder(); err != nil || now != pid {
		return err == nil, err
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("end process %d: %w", pid, err)
	}
	late := time.After(deadline)
	for {
		if now, err := folder.holder(); err != nil || now != pid {
			return err == nil, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-late:
			return false, nil
		case <-time.After(look):
		}
	}
}
