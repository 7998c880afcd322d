package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// New connections for a while: each is a full handshake with a client's certificate, and one answered request,
// because in TLS 1.3 a client cannot know before that whether it was let in.
func handshakes(arguments []string) error {
	options := flag.NewFlagSet("handshakes", flag.ExitOnError)
	address := options.String("connect", "", "host:port")
	certificate := options.String("certificate", "", "chain and key, PEM")
	parallel := options.Int("parallel", 4, "connections at a time")
	period := options.Duration("for", 3*time.Second, "how long")
	_ = options.Parse(arguments)
	own, err := tls.LoadX509KeyPair(*certificate, *certificate)
	if err != nil {
		return err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{own},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		// Who the server is does not matter to how fast it is, and SPIFFE IDs are no host names.
		InsecureSkipVerify: true,
	}
	var made atomic.Int64
	failed := make(chan error, *parallel)
	begun := time.Now()
	var clients sync.WaitGroup
	for client := 0; client < *parallel; client++ {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for time.Since(begun) < *period {
				if err := once(*address, config); err != nil {
					failed <- err
					return
				}
				made.Add(1)
			}
		}()
	}
	clients.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"handshakes": made.Load(), "seconds": time.Since(begun).Seconds(),
	})
}

func once(address string, config *tls.Config) error {
	connection, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := fmt.Fprintf(connection, "GET /nobody HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
