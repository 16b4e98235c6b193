// Command server is the app of the cluster tests: it answers HTTP on 8080,
// takes connections on 9090 and holds them, and listens on nothing else.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"method":%q,"uri":%q,"header":%q,"body":%q,"devices":[{"id":"edge-1","n":2}]}`,
			r.Method, r.RequestURI, r.Header.Get("X-Test"), body)
	})
	http.HandleFunc("/missing", http.NotFound)
	http.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) })
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
