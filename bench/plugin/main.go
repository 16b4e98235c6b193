// Plugin does nothing: what remains of the time to run it is the dispatcher's.
package main

func main() {}
