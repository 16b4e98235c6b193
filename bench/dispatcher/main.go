// Dispatcher is the least that a dispatcher can be: harmony is measured against it.
package main

import (
	"log"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	path, err := exec.LookPath("harmony-" + os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(syscall.Exec(path, os.Args[1:], os.Environ()))
}
