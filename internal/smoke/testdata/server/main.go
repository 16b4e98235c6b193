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

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
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
