// Command interop is the other side of the interoperability tests: SPIFFE as github.com/spiffe/go-spiffe
// implements it. One run, one role:
//
//	interop workload -socket unix:///... -audience a    everything the Workload API gives, once
//	interop validate -socket ... -audience a -token t   a JWT-SVID, by the Workload API and by its bundles
//	interop watch    -socket ...                        each update of the streams
//	interop dial     -socket ... -id ... -address ...   a client on mutual TLS
//	interop traffic  -socket ... -id ... -address ...   a client that dials again and again
//	interop serve    -socket ... -id ...                a server on mutual TLS
//	interop follow   -url ... -trust-domain ...         each update at a bundle endpoint
//	interop publish  -socket ... -trust-domain ...      a bundle endpoint
//
// It says what happens as JSON lines, each with its "event", so that a test waits for an event and never
// for a time. A role that does not end by itself ends when standard input does: no test leaves it behind.
// The exit code is 1 if the role failed, and the last event is then "failed".
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const patience = 20 * time.Second // for one answer; whoever waits longer has failed

type role func(ctx context.Context, flags *flag.FlagSet, arguments []string) error

var roles = map[string]role{
	"workload": workload,
	"validate": validate,
	"watch":    watch,
	"dial":     dial,
	"traffic":  traffic,
	"serve":    serve,
	"follow":   follow,
	"publish":  publish,
}

func main() {
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: interop workload|validate|watch|dial|traffic|serve|follow|publish [flags]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	if err := roles[os.Args[1]](untilInputEnds(), flags, os.Args[2:]); err != nil {
		emit("failed", fields{"error": err.Error()})
		os.Exit(1)
	}
}

// untilInputEnds is done when standard input is.
func untilInputEnds() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

type fields map[string]any

var output sync.Mutex

// emit writes one event; events of several goroutines never mix within a line.
func emit(event string, with fields) {
	line := fields{"event": event}
	for name, value := range with {
		line[name] = value
	}
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err) // nobody can be told
	}
}

// x509Source keeps the X.509-SVID of id, one of the several that this user may have.
func x509Source(ctx context.Context, socket, id string) (*workloadapi.X509Source, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	picker := func(svids []*x509svid.SVID) *x509svid.SVID {
		for _, svid := range svids {
			if svid.ID.String() == id {
				return svid
			}
		}
		return nil
	}
	source, err := workloadapi.NewX509Source(ctx,
		workloadapi.WithClientOptions(workloadapi.WithAddr(socket)),
		workloadapi.WithDefaultX509SVIDPicker(picker))
	if err != nil {
		return nil, err
	}
	if _, err := source.GetX509SVID(); err != nil {
		_ = source.Close()
		return nil, fmt.Errorf("no SVID for %s: %w", id, err)
	}
	return source, nil
}

// authorizer accepts the SPIFFE ID peer, or whoever is in the trust domain that peer names alone.
func authorizer(peer string) (tlsconfig.Authorizer, error) {
	if id, err := spiffeid.FromString(peer); err == nil && id.Path() != "" {
		return tlsconfig.AuthorizeID(id), nil
	}
	trustDomain, err := spiffeid.TrustDomainFromString(peer)
	if err != nil {
		return nil, err
	}
	return tlsconfig.AuthorizeMemberOf(trustDomain), nil
}
