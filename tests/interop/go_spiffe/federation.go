package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const poll = 50 * time.Millisecond // whoever follows wants each update, not few requests

// follow fetches the bundle of -trust-domain from -url, again and again, until standard input ends, and shows
// each that differs from the last one. The endpoint is authenticated as https_spiffe, beginning with the
// bundle in the file -bundle, or as https_web by the authorities in the PEM file -roots.
func follow(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	url := flags.String("url", "", "of the bundle endpoint")
	name := flags.String("trust-domain", "", "whose bundle it is")
	endpoint := flags.String("endpoint", "", "SPIFFE ID of the endpoint")
	file := flags.String("bundle", "", "file with the bundle to begin with")
	roots := flags.String("roots", "", "file with the authorities of https_web")
	_ = flags.Parse(arguments)
	trustDomain, err := spiffeid.TrustDomainFromString(*name)
	if err != nil {
		return err
	}
	known := spiffebundle.NewSet()
	option, err := authentication(trustDomain, known, *endpoint, *file, *roots)
	if err != nil {
		return err
	}
	err = federation.WatchBundle(ctx, trustDomain, *url, follower{known}, option)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func authentication(
	trustDomain spiffeid.TrustDomain, known *spiffebundle.Set, endpoint, file, roots string,
) (federation.FetchOption, error) {
	if roots != "" {
		text, err := os.ReadFile(roots)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("no certificates in " + roots)
		}
		return federation.WithWebPKIRoots(pool), nil
	}
	id, err := spiffeid.FromString(endpoint)
	if err != nil {
		return nil, err
	}
	bundle, err := spiffebundle.Load(trustDomain, file)
	if err != nil {
		return nil, err
	}
	known.Add(bundle)
	return federation.WithSPIFFEAuth(known, id), nil
}

// follower keeps what authenticates the endpoint next time, and says what came.
type follower struct{ known *spiffebundle.Set }

func (follower) NextRefresh(time.Duration) time.Duration { return poll }

func (f follower) OnUpdate(bundle *spiffebundle.Bundle) {
	f.known.Add(bundle)
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	emit("bundle", fields{
		"trust_domain": bundle.TrustDomain().Name(),
		"x509":         fingerprints(bundle.X509Authorities()),
		"jwt":          keyIDs(bundle.JWTBundle()),
		"sequence":     sequence,
		"hint":         hint.Seconds(),
	})
}

func (f follower) OnError(err error) { emit("refused", fields{"error": err.Error()}) }

// publish serves the bundle of -trust-domain, as the Workload API gives it, until standard input ends: as
// https_spiffe with the SVID -id, or as https_web with -certificate and -key.
func publish(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	name := flags.String("trust-domain", "", "whose bundle to serve")
	id := flags.String("id", "", "SPIFFE ID to show")
	certificate := flags.String("certificate", "", "PEM file to show instead")
	key := flags.String("key", "", "PEM file with its key")
	_ = flags.Parse(arguments)
	trustDomain, err := spiffeid.TrustDomainFromString(*name)
	if err != nil {
		return err
	}
	config, err := shown(ctx, *socket, *id, *certificate, *key)
	if err != nil {
		return err
	}
	bundles, err := workloadapi.NewBundleSource(ctx,
		workloadapi.WithClientOptions(workloadapi.WithAddr(*socket)))
	if err != nil {
		return err
	}
	defer bundles.Close()
	handler, err := federation.NewHandler(trustDomain, bundles)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: patience}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	emit("listening", fields{"address": listener.Addr().String()})
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func shown(ctx context.Context, socket, id, certificate, key string) (*tls.Config, error) {
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
	}
	// For as long as the process lives: it ends when its role does.
	source, err := x509Source(ctx, socket, id)
	if err != nil {
		return nil, err
	}
	return tlsconfig.TLSServerConfig(source), nil
}
