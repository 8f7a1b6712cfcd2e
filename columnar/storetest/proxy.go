package storetest

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// proxy passes requests on as they are.
type proxy struct {
	*httputil.ReverseProxy
	transport *http.Transport
}

func newProxy(target *url.URL) *proxy {
	transport := &http.Transport{DisableCompression: true}
	return &proxy{transport: transport, ReverseProxy: &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
	}}
}
