// Command app is the program of the images that tests deploy. It answers
// http requests on PORT (8080) with its VERSION, and anything written in SAY is
// printed first. With EXIT set it ends with that status instead, after as many
// seconds as AFTER says.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	if say := os.Getenv("SAY"); say != "" {
		fmt.Println(say)
	}
	if status := os.Getenv("EXIT"); status != "" {
		code, err := strconv.Atoi(status)
		after, wrong := time.ParseDuration(cmp.Or(os.Getenv("AFTER"), "0") + "s")
		if err = errors.Join(err, wrong); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		time.Sleep(after)
		return code
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":" + port, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getenv("VERSION"))
	})}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
