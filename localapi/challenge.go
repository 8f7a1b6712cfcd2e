package localapi

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// Headers of the challenge (THREATS L21), and the label of the proof.
const (
	ChallengeHeader = "Coldframe-Challenge"
	ProofHeader     = "Coldframe-Proof"
	challengeLabel  = "coldframe/v1/challenge"
	nonceSize       = 32
)

// Proof is what an agent that knows a token answers to a challenge: HMAC-SHA-256 under SHA-256(token) over the label, a zero byte, the
// nonce of 32 bytes, a zero byte and the Host that the client asked for, so that a listener elsewhere cannot pass the question on.
func Proof(token string, nonce []byte, host string) []byte {
	key := sha256.Sum256([]byte(token))
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte(challengeLabel))
	m.Write([]byte{0})
	m.Write(nonce)
	m.Write([]byte{0})
	m.Write([]byte(host))
	return m.Sum(nil)
}

// tokenID returns the id inside a token, cf_<id>_<secret>.
func tokenID(token string) (string, error) {
	parts := strings.Split(token, "_")
	if len(parts) != 3 || parts[0] != "cf" {
		return "", fault.New(fault.InvalidRequest, "this is not a token of an agent")
	}
	return parts[1], nil
}

// loopback refuses an address that is not on this machine: the token is not for others.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return fault.New(fault.InvalidRequest, "the agent's address must be one of this machine, with a port")
	}
	return nil
}

// dialTCP connects and lets the other side prove that it knows the token, on this very connection, before anything secret is sent on it.
func dialTCP(ctx context.Context, address, token string) (net.Conn, error) {
	id, err := tokenID(token)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "nobody listens at this address")
	}
	if err := challenge(conn, address, id, token); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func challenge(conn net.Conn, host, id, token string) error {
	conn.SetDeadline(time.Now().Add(dialTimeout)) //nolint:errcheck // a dead connection shows in the next call
	defer conn.SetDeadline(time.Time{})           //nolint:errcheck // as above
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) //nolint:errcheck // ends the process instead of failing
	_, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: %s\r\n%s: %s:%x\r\n\r\n", host, ChallengeHeader, id, nonce)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the agent does not answer")
	}
	br := bufio.NewReader(conn)
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the agent does not answer")
	}
	defer r.Body.Close()
	body := make([]byte, 2)
	n, _ := r.Body.Read(body)
	proof, err := hex.DecodeString(r.Header.Get(ProofHeader))
	if err != nil || !hmac.Equal(proof, Proof(token, nonce, host)) {
		return fault.New(fault.NotAuthentic, "what listens at this address did not prove that it is your agent")
	}
	if r.StatusCode != http.StatusOK || string(body[:n]) != "ok" || r.ContentLength != 2 || br.Buffered() != 0 {
		return fault.New(fault.NotAuthentic, "what listens at this address does not answer as an agent does")
	}
	return nil
}
