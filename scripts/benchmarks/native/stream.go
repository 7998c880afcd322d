package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Reads one streamed answer: counts its events and bytes, and demands that the last one is the result.
func stream(arguments []string) error {
	options := flag.NewFlagSet("stream", flag.ExitOnError)
	url := options.String("url", "", "where to call")
	_ = options.Parse(arguments)
	body, err := io.ReadAll(os.Stdin) // the call
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, *url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range headersOf(body) {
		request.Header.Set(name, value)
	}
	begun := time.Now()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	events, size, err := read(answer.Body)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"events": events, "bytes": size, "seconds": time.Since(begun).Seconds(),
	})
}

// The headers that mirror a call of 2026-07-28.
func headersOf(body []byte) map[string]string {
	var asked message
	_ = json.Unmarshal(body, &asked) // our own words
	return map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": asked.Method, "Mcp-Name": asked.Params.Name,
	}
}

func read(body io.Reader) (events int, size int, err error) {
	lines := bufio.NewReaderSize(body, 4<<20)
	var last []byte
	for {
		line, err := lines.ReadSlice('\n')
		size += len(line)
		if bytes.HasPrefix(line, []byte("data: ")) {
			events++
			last = append(last[:0], line...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
	}
	var result struct {
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(bytes.TrimPrefix(last, []byte("data: ")), &result) != nil || result.Result == nil {
		return 0, 0, errors.New("the stream ended without its result")
	}
	return events, size, nil
}
