package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// workload asks the Workload API for everything, once, through each of go-spiffe's ways to ask.
func workload(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	audience := flags.String("audience", "", "audience of the JWT-SVIDs")
	subject := flags.String("subject", "", "SPIFFE ID of the JWT-SVID; all of this user's if empty")
	_ = flags.Parse(arguments)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(*socket))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, ask := range []func() error{
		func() error { return showX509Context(ctx, client) },
		func() error { return showX509Bundles(ctx, client) },
		func() error { return showBundleSource(ctx, client) },
		func() error { return showJWTSVIDs(ctx, client, *audience, *subject) },
		func() error { return showJWTBundles(ctx, client) },
	} {
		if err := ask(); err != nil {
			return err
		}
	}
	return nil
}

func showX509Context(ctx context.Context, client *workloadapi.Client) error {
	update, err := client.FetchX509Context(ctx)
	if err != nil {
		return err
	}
	emit("x509_context", x509ContextFields(update))
	return nil
}

func showX509Bundles(ctx context.Context, client *workloadapi.Client) error {
	set, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return err
	}
	emit("x509_bundles", fields{"bundles": authorities(set)})
	return nil
}

// showBundleSource shows X.509 and JWT authorities as a source that follows both streams joins them.
func showBundleSource(ctx context.Context, client *workloadapi.Client) error {
	source, err := workloadapi.NewBundleSource(ctx, workloadapi.WithClient(client))
	if err != nil {
		return err
	}
	defer source.Close()
	set, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return err
	}
	for _, bundle := range set.Bundles() {
		joined, err := source.GetBundleForTrustDomain(bundle.TrustDomain())
		if err != nil {
			return err
		}
		emit("bundle_source", fields{
			"trust_domain": joined.TrustDomain().Name(),
			"x509":         fingerprints(joined.X509Authorities()),
			"jwt":          keyIDs(joined.JWTBundle()),
		})
	}
	return nil
}

func showJWTSVIDs(ctx context.Context, client *workloadapi.Client, audience, subject string) error {
	source, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClient(client))
	if err != nil {
		return err
	}
	defer source.Close()
	params := jwtsvid.Params{Audience: audience}
	if subject != "" {
		if params.Subject, err = spiffeid.FromString(subject); err != nil {
			return err
		}
	}
	svids, err := source.FetchJWTSVIDs(ctx, params)
	if err != nil {
		return err
	}
	emit("jwt_svids", fields{"svids": transform(svids, jwtSVIDFields)})
	return nil
}

func showJWTBundles(ctx context.Context, client *workloadapi.Client) error {
	set, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return err
	}
	emit("jwt_bundles", fields{"bundles": allKeyIDs(set)})
	return nil
}

// validate asks the Workload API about a token, and go-spiffe's own validator with the bundles of the API.
func validate(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	audience := flags.String("audience", "", "audience that the token has to have")
	token := flags.String("token", "", "the JWT-SVID")
	_ = flags.Parse(arguments)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(*socket)))
	if err != nil {
		return err
	}
	defer source.Close()
	svid, err := workloadapi.ValidateJWTSVID(ctx, *token, *audience, workloadapi.WithAddr(*socket))
	emitVerdict("workload_api", svid, err)
	svid, err = jwtsvid.ParseAndValidate(*token, source, []string{*audience})
	emitVerdict("bundles", svid, err)
	return nil
}

func emitVerdict(by string, svid *jwtsvid.SVID, err error) {
	if err != nil {
		emit("refused", fields{"by": by, "error": err.Error()})
		return
	}
	emit("validated", fields{"by": by, "id": svid.ID.String()})
}

// watch follows the three streams until standard input ends.
func watch(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	socket := flags.String("socket", "", "address of the Workload API")
	_ = flags.Parse(arguments)
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(*socket))
	if err != nil {
		return err
	}
	defer client.Close()
	updates := watcher{ctx}
	ended := make(chan error, 3)
	go func() { ended <- client.WatchX509Context(ctx, updates) }()
	go func() { ended <- client.WatchX509Bundles(ctx, updates) }()
	go func() { ended <- client.WatchJWTBundles(ctx, updates) }()
	err = <-ended
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watcher says what each stream brings, and when one breaks that was not to end.
type watcher struct{ ctx context.Context }

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	emit("x509_context", x509ContextFields(update))
}

func (watcher) OnX509BundlesUpdate(set *x509bundle.Set) {
	emit("x509_bundles", fields{"bundles": authorities(set)})
}

func (watcher) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	emit("jwt_bundles", fields{"bundles": allKeyIDs(set)})
}

func (w watcher) OnX509ContextWatchError(err error) { w.broken("x509_context", err) }
func (w watcher) OnX509BundlesWatchError(err error) { w.broken("x509_bundles", err) }
func (w watcher) OnJWTBundlesWatchError(err error)  { w.broken("jwt_bundles", err) }

func (w watcher) broken(stream string, err error) {
	if w.ctx.Err() == nil {
		emit("broken", fields{"stream": stream, "error": err.Error()})
	}
}

// x509ContextFields describes the SVIDs, each held against the bundles that came with it.
func x509ContextFields(update *workloadapi.X509Context) fields {
	describe := func(svid *x509svid.SVID) fields {
		verified, complaint := "", ""
		if id, _, err := x509svid.Verify(svid.Certificates, update.Bundles); err != nil {
			complaint = err.Error()
		} else {
			verified = id.String()
		}
		return fields{
			"id":        svid.ID.String(),
			"hint":      svid.Hint,
			"leaf":      fingerprint(svid.Certificates[0]),
			"not_after": svid.Certificates[0].NotAfter.Format(time.RFC3339),
			"verified":  verified,
			"complaint": complaint,
		}
	}
	return fields{"svids": transform(update.SVIDs, describe), "bundles": authorities(update.Bundles)}
}

func jwtSVIDFields(svid *jwtsvid.SVID) fields {
	return fields{
		"id":       svid.ID.String(),
		"hint":     svid.Hint,
		"audience": svid.Audience,
		"expiry":   svid.Expiry.Format(time.RFC3339),
		"token":    svid.Marshal(),
	}
}

// authorities are the SHA-256 fingerprints of each trust domain's roots.
func authorities(set *x509bundle.Set) map[string][]string {
	found := map[string][]string{}
	for _, bundle := range set.Bundles() {
		found[bundle.TrustDomain().Name()] = fingerprints(bundle.X509Authorities())
	}
	return found
}

func allKeyIDs(set *jwtbundle.Set) map[string][]string {
	found := map[string][]string{}
	for _, bundle := range set.Bundles() {
		found[bundle.TrustDomain().Name()] = keyIDs(bundle)
	}
	return found
}

func keyIDs(bundle *jwtbundle.Bundle) []string {
	found := []string{}
	for keyID := range bundle.JWTAuthorities() {
		found = append(found, keyID)
	}
	slices.Sort(found)
	return found
}

func fingerprints(certificates []*x509.Certificate) []string {
	return transform(certificates, fingerprint)
}

func fingerprint(certificate *x509.Certificate) string {
	digest := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(digest[:])
}

func transform[From, To any](values []From, each func(From) To) []To {
	found := make([]To, 0, len(values))
	for _, value := range values {
		found = append(found, each(value))
	}
	return found
}
