// Callout decides which agents are admitted to the fleet. The operator asks
// it about every report.
//
//	POST /admit   {"device": "fleet-agent-0", "token": "…"} → {"allowed": true, "reason": "…"}
//	GET  /healthz the process lives, and its version
//	GET  /readyz  ready when the tokens can be read
//
// Environment: TOKENS_FILE (a mounted Secret) or TOKENS, LISTEN_ADDRESS,
// LOG_LEVEL, APP_VERSION.
package main

import (
	"context"
	"log/slog"
	"os"

	"example.com/fleet/internal/service"
)

func main() { os.Exit(service.Main(run)) }

func run(ctx context.Context, log *slog.Logger, env service.Environment) error {
	load := func() (tokens, error) {
		text, err := env.Secret("TOKENS")
		if err != nil {
			return nil, err
		}
		return parseTokens(text)
	}
	if _, err := load(); err != nil {
		return err
	}
	handler := newHandler(log, env.Text("APP_VERSION", "dev"), load)
	return service.Serve(ctx, log, env.Text("LISTEN_ADDRESS", ":8080"), handler)
}
