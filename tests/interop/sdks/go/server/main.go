// A server of the Go SDK. Prints its URL.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type numbers struct {
	A int `json:"a"`
	B int `json:"b"`
}

type far struct {
	To int `json:"to"`
}

type nothing struct{}

func main() {
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return reference() }, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/mcp\n", listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}

func reference() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "go", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "add", Description: "The sum of two numbers."},
		func(_ context.Context, _ *mcp.CallToolRequest, in numbers) (*mcp.CallToolResult, any, error) {
			return text(strconv.Itoa(in.A + in.B)), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "count", Description: "Count, and say how far."},
		func(ctx context.Context, request *mcp.CallToolRequest, in far) (*mcp.CallToolResult, any, error) {
			for number := range in.To {
				report(ctx, request, float64(number), float64(in.To))
			}
			return text(strconv.Itoa(in.To)), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "wait", Description: "Run until it is cancelled."},
		func(ctx context.Context, request *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
			report(ctx, request, 0, 1)
			<-ctx.Done()
			fmt.Println("cancelled")
			return nil, nil, ctx.Err()
		})
	mcp.AddTool(server, &mcp.Tool{Name: "forbidden", Description: "What nobody may call."},
		func(context.Context, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, any, error) {
			return text("reached"), nil, nil
		})
	return server
}

func report(ctx context.Context, request *mcp.CallToolRequest, progress, total float64) {
	token := request.Params.GetProgressToken()
	if token == nil {
		return
	}
	params := &mcp.ProgressNotificationParams{ProgressToken: token, Progress: progress, Total: total}
	if err := request.Session.NotifyProgress(ctx, params); err != nil {
		log.Print(err)
	}
}

func text(said string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: said}}}
}
