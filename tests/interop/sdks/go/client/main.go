// A client of the Go SDK. Argument: URL. Prints what its user sees.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sort"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	log.SetFlags(0)
	seen, err := run(context.Background(), os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) (map[string]any, error) {
	progress := []float64{}
	counting, started := true, make(chan struct{})
	client := mcp.NewClient(&mcp.Implementation{Name: "go", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, request *mcp.ProgressNotificationClientRequest) {
			if counting {
				progress = append(progress, request.Params.Progress)
			} else {
				close(started)
			}
		},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url}, nil)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	listed := []string{}
	for _, tool := range tools.Tools {
		listed = append(listed, tool.Name)
	}
	sort.Strings(listed)
	called, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "add", Arguments: map[string]any{"a": 2, "b": 3}})
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	if _, err := session.CallTool(ctx, withProgress("count", map[string]any{"to": 3})); err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	refused := ""
	if result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "forbidden", Arguments: map[string]any{}}); err != nil {
		refused = err.Error()
	} else {
		refused = fmt.Sprintf("result %v", result.Content)
	}
	counting = false
	cancellable, cancel := context.WithCancel(ctx)
	go func() {
		<-started
		cancel()
	}()
	_, err = session.CallTool(cancellable, withProgress("wait", map[string]any{}))
	if err == nil {
		return nil, fmt.Errorf("wait ended by itself")
	}
	cancelled := err.Error()
	if err := session.Ping(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, "ping:", err) // 2026-07-28 has none
	}
	return map[string]any{
		"revision":  session.InitializeResult().ProtocolVersion,
		"listed":    listed,
		"called":    []string{called.Content[0].(*mcp.TextContent).Text},
		"progress":  progress,
		"refused":   refused,
		"cancelled": cancelled,
	}, nil
}

func withProgress(name string, arguments map[string]any) *mcp.CallToolParams {
	params := &mcp.CallToolParams{Name: name, Arguments: arguments}
	params.SetProgressToken(name)
	return params
}
