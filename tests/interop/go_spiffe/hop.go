package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const most = 1 << 20 // bytes read of a body

// tls13 is the base of both ends: nothing older is spoken.
func tls13() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
}

// secured is what go-spiffe's connections are, whichever end.
type secured interface {
	net.Conn
	PeerID() (spiffeid.ID, error)
}

// dial opens a connection as -id to a server that has to be -peer. It sends the request in the file
// -request and shows the response; without one it reads what the server says until that ends.
func dial(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	id := flags.String("id", "", "SPIFFE ID to show")
	address := flags.String("address", "", "host:port")
	peer := flags.String("peer", "", "SPIFFE ID or trust domain that the server has to have")
	request := flags.String("request", "", "file with an HTTP/1.1 request")
	_ = flags.Parse(arguments)
	authorize, err := authorizer(*peer)
	if err != nil {
		return err
	}
	source, err := x509Source(ctx, *socket, *id)
	if err != nil {
		return err
	}
	defer source.Close()
	connection, err := spiffetls.DialWithMode(ctx, "tcp", *address,
		spiffetls.MTLSClientWithSource(authorize, source),
		spiffetls.WithDialTLSConfigBase(tls13()),
		spiffetls.WithDialer(&net.Dialer{Timeout: patience}))
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	server, err := connection.(secured).PeerID()
	if err != nil {
		return err
	}
	// In TLS 1.3 the client is done before the server has looked at its certificate: this is no welcome yet.
	emit("handshake", fields{"peer": server.String()})
	if *request == "" {
		return listen(connection)
	}
	return exchange(connection, *request)
}

// listen shows what the server says unasked, and how it ended.
func listen(connection net.Conn) error {
	said, err := io.ReadAll(io.LimitReader(connection, most))
	emit("said", fields{"text": string(said)})
	return err
}

func exchange(connection net.Conn, file string) error {
	request, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	response, body, err := ask(connection, request)
	if err != nil {
		return err
	}
	emit("response", fields{"status": response.StatusCode, "headers": response.Header, "body": string(body)})
	return nil
}

// ask sends the request as it is, and reads the whole answer.
func ask(connection net.Conn, request []byte) (*http.Response, []byte, error) {
	if _, err := connection.Write(request); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	return response, body, err
}

// traffic dials as -id the server that has to be -peer, sends it the request in the file -request, shows the
// status of the answer and which SVID of ours was the newest, and begins anew, until standard input ends. The
// first connection of all it keeps: when the server ends that one, it says so.
func traffic(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	id := flags.String("id", "", "SPIFFE ID to show")
	address := flags.String("address", "", "host:port")
	peer := flags.String("peer", "", "SPIFFE ID or trust domain that the server has to have")
	file := flags.String("request", "", "file with an HTTP/1.1 request")
	_ = flags.Parse(arguments)
	authorize, err := authorizer(*peer)
	if err != nil {
		return err
	}
	request, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	source, err := x509Source(ctx, *socket, *id)
	if err != nil {
		return err
	}
	defer source.Close()
	kept := false
	for ctx.Err() == nil {
		svid, err := source.GetX509SVID()
		if err != nil {
			return err
		}
		connection, err := spiffetls.DialWithMode(ctx, "tcp", *address,
			spiffetls.MTLSClientWithSource(authorize, source),
			spiffetls.WithDialTLSConfigBase(tls13()),
			spiffetls.WithDialer(&net.Dialer{Timeout: patience}))
		if err == nil {
			err = once(connection, request, fingerprint(svid.Certificates[0]))
		}
		if err != nil && ctx.Err() == nil {
			emit("call_failed", fields{"error": err.Error()})
		}
		switch {
		case err != nil:
		case kept:
			_ = connection.Close()
		default:
			kept = true
			go keep(connection)
		}
	}
	return nil
}

// once sends the request on a new connection.
func once(connection net.Conn, request []byte, leaf string) error {
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	response, _, err := ask(connection, request)
	if err != nil {
		_ = connection.Close()
		return err
	}
	emit("answer", fields{"status": response.StatusCode, "leaf": leaf})
	return nil
}

// keep says when the other side ends the connection.
func keep(connection net.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Time{})
	_, err := io.Copy(io.Discard, connection)
	emit("ended", fields{"by_goodbye": err == nil})
}

// serve answers as -id the clients that have to be -peer, until standard input ends.
func serve(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	id := flags.String("id", "", "SPIFFE ID to show")
	peer := flags.String("peer", "", "SPIFFE ID or trust domain that clients have to have")
	_ = flags.Parse(arguments)
	authorize, err := authorizer(*peer)
	if err != nil {
		return err
	}
	source, err := x509Source(ctx, *socket, *id)
	if err != nil {
		return err
	}
	defer source.Close()
	listener, err := spiffetls.ListenWithMode(ctx, "tcp", "127.0.0.1:0",
		spiffetls.MTLSServerWithSource(authorize, source),
		spiffetls.WithListenTLSConfigBase(tls13()))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	emit("listening", fields{"address": listener.Addr().String()})
	go showRotation(ctx, source)
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go answer(connection.(secured))
	}
}

// showRotation says which SVID new handshakes show from now on.
func showRotation(ctx context.Context, source *workloadapi.X509Source) {
	for source.WaitUntilUpdated(ctx) == nil {
		if svid, err := source.GetX509SVID(); err == nil {
			emit("svid", fields{"leaf": fingerprint(svid.Certificates[0])})
		}
	}
}

// answer says how the handshake went, then how each request looks, and last that the connection is over.
func answer(connection secured) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	client, err := connection.PeerID()
	if err != nil {
		emit("handshake_failed", fields{"error": err.Error()})
		return
	}
	emit("handshake", fields{"peer": client.String()})
	requests := bufio.NewReader(connection)
	for err == nil {
		err = echo(connection, requests, client)
	}
	emit("over", fields{"error": err.Error()})
}

// echo answers one request with what arrived; io.EOF after the last.
func echo(connection net.Conn, requests *bufio.Reader, client spiffeid.ID) error {
	request, err := http.ReadRequest(requests)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, most))
	if err != nil {
		return err
	}
	arrived := fields{
		"peer":    client.String(),
		"method":  request.Method,
		"target":  request.RequestURI,
		"host":    request.Host,
		"headers": request.Header,
		"body":    string(body),
	}
	emit("request", arrived)
	text, err := json.Marshal(arrived)
	if err != nil {
		return err
	}
	response := http.Response{
		StatusCode:    http.StatusOK,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(bytes.NewReader(text)),
		ContentLength: int64(len(text)),
	}
	return errors.Join(response.Write(connection), lastOf(request))
}

func lastOf(request *http.Request) error {
	if request.Close {
		return io.EOF
	}
	return nil
}
