// Package agent starts the built agent (bin/coldframed) in folders of its own, with an account, for measuring it from outside.
package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"coldframe/localapi"
)

// Agent is a running process with an unlocked account.
type Agent struct {
	Client *localapi.Client
	cmd    *exec.Cmd
}

const password = "ferry tundra ocelot maple quarry vivid"

// Start runs an agent below dir and registers an account. Extra arguments go to coldframed.
func Start(dir string, args ...string) (*Agent, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args = append([]string{"--data-dir", dir + "/data", "--state-dir", dir + "/state", "--runtime-dir", dir + "/run", "--no-tcp"}, args...)
	cmd := exec.Command("bin/coldframed", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &Agent{cmd: cmd}
	if a.Client, err = a.connect(dir + "/run"); err == nil {
		_, err = a.Client.Register(context.Background(), localapi.RegisterRequest{Email: "bench@example.org", Password: password})
	}
	if err != nil {
		a.Stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return a, nil
}

func (a *Agent) connect(run string) (*localapi.Client, error) {
	o := localapi.Options{Socket: filepath.Join(run, localapi.SocketName), TokenFile: filepath.Join(run, localapi.TokenName)}
	for wait := 0; ; wait++ {
		c, err := localapi.Dial(context.Background(), o)
		if err == nil || wait == 100 {
			return c, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Stop ends the process.
func (a *Agent) Stop() {
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	_ = a.cmd.Wait()
}

var resident = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)

// ResidentMiB returns the resident size now.
func (a *Agent) ResidentMiB() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	m := resident.FindSubmatch(b)
	if m == nil {
		return 0
	}
	kib, _ := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024
}

// WatchResident looks at the resident size every 10 ms until the function that it returns is called, which gives the highest.
func (a *Agent) WatchResident() func() float64 {
	stop, done := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		peak := 0.0
		for {
			peak = max(peak, a.ResidentMiB())
			select {
			case <-stop:
				done <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 { close(stop); return <-done }
}
