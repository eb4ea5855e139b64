// Go's crypto/tls under net/http: visits the server COUNT times, with a cache of sessions.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	server, name := net.JoinHostPort(os.Args[1], os.Args[2]), os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	fail(err)
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, server)
			},
			TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true,
				ClientSessionCache: tls.NewLRUClientSessionCache(8),
			},
		},
	}
	for range count {
		answer, err := client.Get("https://" + name + "/health")
		fail(err)
		_, err = io.Copy(io.Discard, answer.Body)
		fail(err)
		fail(answer.Body.Close())
		if answer.StatusCode != http.StatusOK {
			fail(fmt.Errorf("status %d", answer.StatusCode))
		}
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
