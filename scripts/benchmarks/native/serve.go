package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

const maxBody = 4 << 20

// What of a message decides how it is answered; the rest is not read.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string `json:"name"`
		Arguments struct {
			Text   string `json:"text"`
			Events int    `json:"events"`
			Bytes  int    `json:"bytes"`
		} `json:"arguments"`
	} `json:"params"`
}

// An MCP server that keeps no state but the number of calls that it answered.
type server struct {
	tools json.RawMessage
	calls atomic.Int64
}

func serve(arguments []string) error {
	options := flag.NewFlagSet("serve", flag.ExitOnError)
	tools := options.Int("tools", 3, "how many tools to list")
	_ = options.Parse(arguments)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := &server{tools: listOf(*tools)}
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", served.mcp)
	mux.HandleFunc("/calls", served.count)
	fmt.Println(listener.Addr())
	return http.Serve(listener, mux)
}

// Tools of the size that servers have: the first echoes, the second streams, the others are there to be many.
func listOf(count int) json.RawMessage {
	text := map[string]any{"type": "string", "maxLength": 65536, "description": "What to say."}
	size := map[string]any{"type": "integer", "minimum": 1, "maximum": 1 << 30}
	list := make([]map[string]any, 0, count)
	for number := 0; number < count; number++ {
		name, properties, required := fmt.Sprintf("tool_%03d", number), map[string]any{"text": text}, "text"
		switch number {
		case 0:
			name = "echo"
		case 1:
			name, required = "stream", "events"
			properties = map[string]any{"events": size, "bytes": size}
		}
		schema := map[string]any{
			"type": "object", "properties": properties, "required": []string{required},
			"additionalProperties": false,
		}
		list = append(list, map[string]any{
			"name": name, "description": "The tool " + name + ". It does what its name says.",
			"inputSchema": schema,
		})
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		panic(err) // of plain maps: cannot be
	}
	return encoded
}

// How many calls were answered: whoever measured more answers than this measured something else.
func (s *server) count(answer http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(answer, s.calls.Load())
}

func (s *server) mcp(answer http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		answer.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, maxBody))
	if err != nil {
		return
	}
	var asked message
	if json.Unmarshal(body, &asked) != nil || asked.Method == "" {
		answer.WriteHeader(http.StatusBadRequest)
		return
	}
	switch {
	case asked.ID == nil:
		answer.WriteHeader(http.StatusAccepted)
	case asked.Method == "tools/call" && asked.Params.Name == "stream":
		s.stream(answer, asked)
	case asked.Method == "tools/call" && asked.Params.Name == "echo":
		s.calls.Add(1)
		reply(answer, asked.ID, echoed(asked.Params.Arguments.Text))
	default:
		s.about(answer, asked)
	}
}

func (s *server) about(answer http.ResponseWriter, asked message) {
	const info = `"serverInfo":{"name":"benchmark","version":"1"},"capabilities":{"tools":{}}`
	switch asked.Method {
	case "server/discover":
		reply(answer, asked.ID, []byte(`{"resultType":"complete","supportedVersions":["2026-07-28"],`+info+`}`))
	case "initialize":
		reply(answer, asked.ID, []byte(`{"protocolVersion":"2025-06-18",`+info+`}`))
	case "tools/list":
		result := bytes.Join([][]byte{[]byte(`{"resultType":"complete","tools":`), s.tools, []byte(`}`)}, nil)
		reply(answer, asked.ID, result)
	case "ping":
		reply(answer, asked.ID, []byte(`{}`))
	default:
		write(answer, []byte(`{"jsonrpc":"2.0","id":`+string(asked.ID)+
			`,"error":{"code":-32601,"message":"Method not found"}}`))
	}
}

// One answer of `events` notifications of `bytes` bytes each, and the result.
func (s *server) stream(answer http.ResponseWriter, asked message) {
	events, size := asked.Params.Arguments.Events, max(asked.Params.Arguments.Bytes, 256)
	answer.Header().Set("Content-Type", "text/event-stream")
	for number := 0; number < events; number++ {
		if _, err := answer.Write(notification(number, size)); err != nil {
			return
		}
	}
	fmt.Fprintf(answer, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", asked.ID, echoed(strconv.Itoa(events)))
	s.calls.Add(1)
}

const prose = `The quick brown fox \"jumps\" over the lazy dog, row 4711: 0.25, café, naïve.\n`

// An event that is `size` bytes long, or a little less: what is said ends with a whole word.
func notification(number int, size int) []byte {
	head := fmt.Sprintf(`event: message`+"\n"+`data: {"jsonrpc":"2.0","method":"notifications/message",`+
		`"params":{"level":"info","logger":"rows","data":{"row":%d,"text":"`, number)
	const tail = `"}}}` + "\n\n"
	return []byte(head + strings.Repeat(prose, max(1, (size-len(head)-len(tail))/len(prose))) + tail)
}

func echoed(text string) []byte {
	said, _ := json.Marshal(text) // of a string: cannot fail
	return []byte(`{"resultType":"complete","content":[{"type":"text","text":` + string(said) + `}],"isError":false}`)
}

func reply(answer http.ResponseWriter, id json.RawMessage, result []byte) {
	write(answer, bytes.Join([][]byte{[]byte(`{"jsonrpc":"2.0","id":`), id, []byte(`,"result":`), result, []byte(`}`)}, nil))
}

func write(answer http.ResponseWriter, body []byte) {
	answer.Header().Set("Content-Type", "application/json")
	answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = answer.Write(body) // a client that is gone gets nothing
}
