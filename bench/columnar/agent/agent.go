// Package agent starts the built agent (bin/coldframed) in folders of its own, with an account, for measuring it from outside.
package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	args = append([]string{"--data-dir", dir + "/data", "--state-dir", dir + "/state", "--runtime-dir", dir + "/run", "--cache-dir", dir + "/cache", "--no-tcp"}, args...)
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
		if err == nil || wait == 600 {
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

// ResidentMiB returns the resident size now.
func (a *Agent) ResidentMiB() float64 { return a.status("VmRSS") }

// PeakMiB returns the highest resident size since ResetPeak.
func (a *Agent) PeakMiB() float64 { return a.status("VmHWM") }

// ResetPeak forgets the highest resident size so far.
func (a *Agent) ResetPeak() error { return os.WriteFile(a.proc("clear_refs"), []byte("5"), 0) }

func (a *Agent) proc(file string) string { return fmt.Sprintf("/proc/%d/%s", a.cmd.Process.Pid, file) }

// status returns a size of /proc/PID/status in MiB, 0 if it is not there.
func (a *Agent) status(name string) float64 {
	b, err := os.ReadFile(a.proc("status"))
	if err != nil {
		return 0
	}
	var kib float64
	_, after, _ := strings.Cut(string(b), name+":")
	_, _ = fmt.Sscan(after, &kib)
	return kib / 1024
}

// CPUSeconds returns the CPU time, user and system, that the process has used.
func (a *Agent) CPUSeconds() float64 {
	b, err := os.ReadFile(a.proc("stat"))
	if err != nil {
		return 0
	}
	const ticks = 100                           // a second, on every Linux that Go runs on
	_, after, _ := strings.Cut(string(b), ") ") // the name in brackets may hold anything
	fields := strings.Fields(after)             // from the third on
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}
