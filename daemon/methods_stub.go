package daemon

import (
	"context"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/format"
)

// Agent is one user's agent. All methods may be called at once from many goroutines. Errors are internal/fault errors.
type Agent struct{}

// Options are the parts that a caller of New brings; zero values are the real ones.
type Options struct{}

// Config is the parsed configuration file.
type Config struct{}

// New opens the local store, writes the token file and returns an agent that is not yet running.
func New(cfg Config, o Options) (*Agent, error) { panic("soon") }

// Run does the background work until ctx ends, then stops cleanly: transfers cancelled, keys wiped, token file removed, store closed.
func (a *Agent) Run(ctx context.Context) error { panic("soon") }

// Ready is closed once the agent serves.
func (a *Agent) Ready() <-chan struct{} { panic("soon") }

// Healthy returns nil while the background work lives and the local store takes writes: the watchdog asks it.
func (a *Agent) Healthy() error { panic("soon") }

// Config returns the configuration (listen addresses, runtime folder, limits).
func (a *Agent) Config() Config { panic("soon") }

// Touch tells the idle timer that a caller was here. The server calls it for each authenticated request but GET /v1/status and /v1/events.
func (a *Agent) Touch() { panic("soon") }

// Refused logs one EventRefused: the server calls it when a check of section 4 says no (Host, Origin, token).
func (a *Agent) Refused(err error) { panic("soon") }

func (a *Agent) Authenticate(token string) (Caller, error)                           { panic("soon") }
func (a *Agent) Prove(tokenID string, challenge []byte, host string) ([]byte, error) { panic("soon") }
func (a *Agent) Status(ctx context.Context) (Status, error)                          { panic("soon") }
func (a *Agent) Metrics() Metrics                                                    { panic("soon") }

func (a *Agent) Register(ctx context.Context, r RegisterRequest) (RegisterResult, error) {
	panic("soon")
}

func (a *Agent) Unlock(ctx context.Context, r UnlockRequest) error { panic("soon") }

func (a *Agent) Lock(ctx context.Context) error { panic("soon") }

func (a *Agent) ChangePassword(ctx context.Context, old, new []byte) error { panic("soon") }

func (a *Agent) Recover(ctx context.Context, r RecoverRequest) error { panic("soon") }

// EnableUnattended returns the credential (text, to be put into systemd-creds); the caller wipes it.
func (a *Agent) EnableUnattended(ctx context.Context, password []byte) ([]byte, error) { panic("soon") }

func (a *Agent) DisableUnattended(ctx context.Context, password []byte) error { panic("soon") }

func (a *Agent) Backup(ctx context.Context, password []byte, w io.Writer) error { panic("soon") }

// Restore reads a backup into an agent that has no account yet. Password is that of the time of the backup.
func (a *Agent) Restore(ctx context.Context, password []byte, r io.Reader) error { panic("soon") }

// RetryAfter says how long a caller that met fault.Busy should wait; 0 if err does not say.
func RetryAfter(err error) time.Duration { panic("soon") }

func (a *Agent) StoreInfo(ctx context.Context) (StoreSettings, error)  { panic("soon") }
func (a *Agent) SetStore(ctx context.Context, r SetStoreRequest) error { panic("soon") }
func (a *Agent) CheckStore(ctx context.Context) ([]Probe, error)       { panic("soon") }

// CreateApp returns the token's text once; the caller wipes it.
func (a *Agent) CreateApp(ctx context.Context, c Caller, r AppRequest) (App, []byte, error) {
	panic("soon")
}

func (a *Agent) Apps(ctx context.Context) ([]App, error) { panic("soon") }

func (a *Agent) DeleteApp(ctx context.Context, c Caller, id string) error { panic("soon") }

func (a *Agent) CreateDataset(ctx context.Context, c Caller, r CreateDatasetRequest) (Dataset, error) {
	panic("soon")
}

// Datasets lists what the caller sees, by title then id; title not empty: only datasets with exactly this title.
func (a *Agent) Datasets(ctx context.Context, c Caller, title string) ([]Dataset, error) {
	panic("soon")
}

func (a *Agent) Dataset(ctx context.Context, c Caller, id string) (Dataset, error) { panic("soon") }

func (a *Agent) RenameDataset(ctx context.Context, c Caller, id, title, idempotencyKey string) (Dataset, error) {
	panic("soon")
}

func (a *Agent) DeleteDataset(ctx context.Context, c Caller, id string) error { panic("soon") }

func (a *Agent) Versions(ctx context.Context, c Caller, id string) ([]Version, error) { panic("soon") }

func (a *Agent) WriteData(ctx context.Context, c Caller, r WriteRequest, body io.Reader) (WriteResult, error) {
	panic("soon")
}

func (a *Agent) ReadData(ctx context.Context, c Caller, r ReadRequest) (*DataStream, error) {
	panic("soon")
}

// DataStream is a verified version ready to be sent. Nothing of it has left yet, so errors up to here can still be an error answer.
type DataStream struct {
	Dataset string
	Version uint64
	Rows    int64 // that WriteTo will hand out
	Schema  *arrow.Schema
}

// WriteTo sends the rows as k. An error after the first byte must end the connection visibly. Call it once, or Close.
func (s *DataStream) WriteTo(ctx context.Context, w io.Writer, k format.Kind) error { panic("soon") }

// Close frees a stream that WriteTo was not called on; harmless after it.
func (s *DataStream) Close() error { panic("soon") }

// Subscription hands out events in order on C until Close, its context's end or the agent's stop; then C is closed. A subscriber that
// reads too slowly is dropped: C is closed, and it may come back with the last id it saw.
type Subscription struct{ C <-chan Event }

func (a *Agent) Subscribe(ctx context.Context, c Caller, after uint64) (*Subscription, error) {
	panic("soon")
}

func (s *Subscription) Close() { panic("soon") }
