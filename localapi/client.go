package localapi

import (
	"context"
	"io"
	"net/http"

	"coldframe/internal/fault"
)

// Status returns the state of the account and of the agent.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return answer[Status](c.raw.GetStatus(ctx))
}

// Register makes an account on this machine. A password that can be guessed is refused: errors.Is(err, Policy), and the problem's
// SuggestedPassphrase holds a better one.
func (c *Client) Register(ctx context.Context, r RegisterRequest) (Registered, error) {
	return answer[Registered](c.raw.Register(ctx, r))
}

// Unlock opens the vault. After too many wrong passwords: errors.Is(err, Busy), and RetryAfter says how long to wait.
func (c *Client) Unlock(ctx context.Context, r UnlockRequest) error {
	return done(c.raw.Unlock(ctx, r))
}

// Lock wipes the keys from the agent's memory.
func (c *Client) Lock(ctx context.Context) error { return done(c.raw.Lock(ctx, EmptyObject{})) }

// ChangePassword changes the password.
func (c *Client) ChangePassword(ctx context.Context, r PasswordChange) error {
	return done(c.raw.ChangePassword(ctx, r))
}

// Recover sets a new password with the recovery kit.
func (c *Client) Recover(ctx context.Context, r RecoverRequest) error {
	return done(c.raw.Recover(ctx, r))
}

// EnableUnattended returns the credential that opens the vault without a person.
func (c *Client) EnableUnattended(ctx context.Context, password string) (UnattendedCredential, error) {
	return answer[UnattendedCredential](c.raw.EnableUnattended(ctx, PasswordRequest{Password: password}))
}

// DisableUnattended makes the credential worthless.
func (c *Client) DisableUnattended(ctx context.Context, password string) error {
	return done(c.raw.DisableUnattended(ctx, PasswordRequest{Password: password}))
}

// Backup writes an encrypted backup of the vault to w. On an error what was written is no backup.
func (c *Client) Backup(ctx context.Context, password string, w io.Writer) error {
	r, err := c.raw.Backup(ctx, PasswordRequest{Password: password})
	if err != nil {
		return transportError(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errorOf(r)
	}
	if _, err := io.Copy(w, r.Body); err != nil {
		return fault.Wrap(fault.Incomplete, err, "the backup broke off")
	}
	return nil
}

// MaxBackup is the length in bytes of the longest backup that Restore takes.
const MaxBackup = 64 << 20

// RestoreOptions say how a backup opens: with the password of its time, or with the recovery kit and a new password. On a machine without the account key
// the kit is needed beside the password too.
type RestoreOptions struct {
	Password, RecoveryKit, NewPassword string
}

// Restore restores a backup into an agent without an account.
func (c *Client) Restore(ctx context.Context, backup io.Reader, o RestoreOptions) error {
	b, err := io.ReadAll(io.LimitReader(backup, MaxBackup+1))
	if err != nil {
		return err
	}
	if len(b) > MaxBackup {
		return fault.New(fault.TooLarge, "a backup has at most %d bytes", MaxBackup)
	}
	return done(c.raw.Restore(ctx, RestoreRequest{
		Backup: b, Password: optional(o.Password), RecoveryKit: optional(o.RecoveryKit), NewPassword: optional(o.NewPassword),
	}))
}

// Store says where objects go.
func (c *Client) Store(ctx context.Context) (Store, error) {
	return answer[Store](c.raw.GetStore(ctx))
}

// SetStore chooses a folder or a bucket.
func (c *Client) SetStore(ctx context.Context, r StoreRequest) (Store, error) {
	return answer[Store](c.raw.SetStore(ctx, r))
}

// Coordinator says which coordinator the account uses.
func (c *Client) Coordinator(ctx context.Context) (Coordinator, error) {
	return answer[Coordinator](c.raw.GetCoordinator(ctx))
}

// ConnectCoordinator joins a coordinator.
func (c *Client) ConnectCoordinator(ctx context.Context, r CoordinatorRequest) (Coordinator, error) {
	return answer[Coordinator](c.raw.ConnectCoordinator(ctx, r))
}

// DisconnectCoordinator leaves the coordinator.
func (c *Client) DisconnectCoordinator(ctx context.Context, password string) error {
	return done(c.raw.DisconnectCoordinator(ctx, PasswordRequest{Password: password}))
}

// RestoreCoordinator gives a coordinator that was restored from an older state what the agent has newer.
func (c *Client) RestoreCoordinator(ctx context.Context, r CoordinatorRestore) (CoordinatorRestored, error) {
	return answer[CoordinatorRestored](c.raw.RestoreCoordinator(ctx, r))
}

// DeleteCoordinatorAccount removes the account at the coordinator with that address; here it is a local one then. After errors.Is(err, Unavailable) the same
// call again decides whether it was done; where that is errors.Is(err, Forbidden), gone is a person's word that it was.
func (c *Client) DeleteCoordinatorAccount(ctx context.Context, password, url string, gone bool) error {
	return done(c.raw.DeleteCoordinatorAccount(ctx, AccountDeletion{Password: password, Url: url, Gone: optional(gone)}))
}

// CheckStore lets the agent try the store.
func (c *Client) CheckStore(ctx context.Context) (StoreCheck, error) {
	return answer[StoreCheck](c.raw.CheckStore(ctx, EmptyObject{}))
}

// ClearCache removes what is kept on this machine of what was fetched from the bucket.
func (c *Client) ClearCache(ctx context.Context) error {
	return done(c.raw.ClearCache(ctx, EmptyObject{}))
}

// Apps lists the application tokens, without the tokens themselves.
func (c *Client) Apps(ctx context.Context) ([]App, error) {
	l, err := answer[AppList](c.raw.ListApps(ctx))
	return l.Apps, err
}

// CreateApp makes a token for an application and returns it, this once.
func (c *Client) CreateApp(ctx context.Context, r AppRequest) (AppCreated, error) {
	return answer[AppCreated](c.raw.CreateApp(ctx, &CreateAppParams{}, r))
}

// DeleteApp revokes a token.
func (c *Client) DeleteApp(ctx context.Context, id string) error {
	return done(c.raw.DeleteApp(ctx, id, EmptyObject{}))
}

// Datasets lists the datasets that the token may read; with a title only those of exactly that title.
func (c *Client) Datasets(ctx context.Context, title string) ([]Dataset, error) {
	l, err := answer[DatasetList](c.raw.ListDatasets(ctx, &ListDatasetsParams{Title: optional(title)}))
	return l.Datasets, err
}

// Dataset returns one dataset.
func (c *Client) Dataset(ctx context.Context, id string) (Dataset, error) {
	return answer[Dataset](c.raw.GetDataset(ctx, id))
}

// CreateDataset makes an empty dataset. The key may be empty; with one, the call may be repeated and has one effect.
func (c *Client) CreateDataset(ctx context.Context, title, idempotencyKey string) (Dataset, error) {
	return answer[Dataset](c.raw.CreateDataset(ctx, &CreateDatasetParams{IdempotencyKey: optional(idempotencyKey)}, DatasetRequest{Title: title}))
}

// RenameDataset changes the title of a dataset.
func (c *Client) RenameDataset(ctx context.Context, id, title, idempotencyKey string) (Dataset, error) {
	return answer[Dataset](c.raw.RenameDataset(ctx, id, &RenameDatasetParams{IdempotencyKey: optional(idempotencyKey)}, DatasetRequest{Title: title}))
}

// DeleteDataset deletes a dataset with all its versions.
func (c *Client) DeleteDataset(ctx context.Context, id string) error {
	return done(c.raw.DeleteDataset(ctx, id, EmptyObject{}))
}

// Versions lists the versions of a dataset, the newest first.
func (c *Client) Versions(ctx context.Context, id string) ([]DatasetVersion, error) {
	l, err := answer[VersionList](c.raw.ListVersions(ctx, id))
	return l.Versions, err
}

// optional returns nil for the zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
