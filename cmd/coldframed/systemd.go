package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"

	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/localapi/server"
)

// credentialName is how systemd names the unattended credential (LoadCredentialEncrypted= in deploy/unattended.conf).
const credentialName = "coldframe-unattended"

const maxCredential = 4 << 10

// unattendedCredential reads the credential that systemd decrypted for this service, if there is one. The caller's agent wipes it.
func unattendedCredential(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(dir, credentialName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the unattended credential cannot be read")
	}
	defer f.Close()
	buf := make([]byte, maxCredential+1)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Wrap(fault.Unavailable, err, "the unattended credential cannot be read")
	}
	if n > maxCredential {
		return nil, fault.New(fault.TooLarge, "the unattended credential is longer than %d bytes", maxCredential)
	}
	return bytes.TrimSpace(buf[:n]), nil
}

// handedIn returns the listeners of socket activation; none without it.
func handedIn() ([]net.Listener, error) {
	given, err := activation.Listeners()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the sockets that were handed in cannot be used")
	}
	for _, l := range given {
		if l == nil {
			return nil, fault.New(fault.InvalidRequest, "a socket that was handed in is not a stream socket")
		}
	}
	return given, nil
}

// notify tells systemd, if it is there, that the agent is ready, how it is, that it lives and that it stops; and the log, where it listens.
func notify(ctx context.Context, agent *daemon.Agent, s *server.Server, logger *slog.Logger) error {
	select {
	case <-agent.Ready():
	case <-ctx.Done():
		return nil
	}
	for _, a := range s.Addrs() {
		if tcp, ok := a.(*net.TCPAddr); ok {
			logger.Info("listening", "kind", tcp.IP.String(), "port", tcp.Port)
		} else {
			logger.Info("listening", "kind", a.Network())
		}
	}
	tell(logger, sd.SdNotifyReady+"\nSTATUS=serving")
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("watchdog settings of the service manager cannot be read")
	}
	defer tell(logger, sd.SdNotifyStopping)
	if interval <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// An agent that is not healthy goes unheard, and the service manager starts it anew.
			if err := agent.Healthy(); err != nil {
				logger.Error("not healthy", "code", string(fault.CodeOf(err)))
				continue
			}
			tell(logger, sd.SdNotifyWatchdog)
		}
	}
}

func tell(logger *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		logger.Warn("the service manager was not told")
	}
}
