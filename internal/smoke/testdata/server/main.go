// Command server is the app of the cluster tests: it answers HTTP on 8080 and
// gRPC's health on 9000, takes connections on 9090 and holds them, and listens on
// nothing else.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(once(os.Args[1:]))
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"method":%q,"uri":%q,"header":%q,"body":%q,"devices":[{"id":"edge-1","n":2}]}`,
			r.Method, r.RequestURI, r.Header.Get("X-Test"), body)
	})
	http.HandleFunc("/missing", http.NotFound)
	http.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) })
	http.HandleFunc("/log", func(_ http.ResponseWriter, r *http.Request) { log.Print(r.URL.Query().Get("line")) })
	go serveHealth()
	listener, err := net.Listen("tcp", ":9090")
	if err != nil {
		log.Fatal(err)
	}
	go hold(listener)
	log.Fatal(http.ListenAndServe(":8080", nil))
}

// once is the program as a Job has it: "end STATUS WORD…" prints the words, and that of the
// variable SAY, and ends with the status; "sleep" does not end.
func once(args []string) int {
	if args[0] == "sleep" {
		fmt.Println("sleeping")
		time.Sleep(time.Hour)
	}
	status, err := strconv.Atoi(args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Join(append(args[2:], os.Getenv("SAY")), " "))
	return status
}

// hold keeps every connection open, whatever the other side does.
func hold(listener net.Listener) {
	var all []net.Conn
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, conn)
		log.Printf("%d connections", len(all))
	}
}

// serveHealth says that the server serves, and that its orders do not.
func serveHealth() {
	listener, err := net.Listen("tcp", ":9000")
	if err != nil {
		log.Fatal(err)
	}
	states := health.NewServer()
	states.SetServingStatus("orders", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, states)
	log.Fatal(server.Serve(listener))
}
