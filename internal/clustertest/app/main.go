// Command app is the program of the images that tests deploy. It answers
// http requests on PORT (8080) with its VERSION, and anything written in SAY is
// printed first. With EXIT set it ends with that status instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	if say := os.Getenv("SAY"); say != "" {
		fmt.Println(say)
	}
	if status := os.Getenv("EXIT"); status != "" {
		code, err := strconv.Atoi(status)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
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
