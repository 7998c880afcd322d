// The parts of the benchmark that must not be what it measures: a fast MCP server, and fast clients for what
// wrk cannot do. Standard library only.
//
//	native serve -tools N      an MCP server of both eras; prints its address
//	native stream -url URL     one streamed answer; prints what came, and how fast
//	native handshakes ...      new mutual-TLS connections, one after the other; prints how many a second
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"serve": serve, "stream": stream, "handshakes": handshakes}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: native serve|stream|handshakes [options]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}
