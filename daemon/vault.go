package daemon

import (
	"context"
	"errors"
	"io"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/s3"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

func (a *Agent) newVault() *keystore.Vault {
	return keystore.New(a.db, keystore.Options{
		Dir: a.cfg.Folders.Data, Profile: a.o.Profile, Clock: a.clock.Now, Logger: a.log, Notify: a.vaultEvent,
	})
}

// vaultEvents are the keystore's events that go to the log, in this package's words. The agent itself tells of the others.
var vaultEvents = map[string]Event{
	keystore.EventWrongPassword:    {Type: EventRefused, Code: fault.NotAuthentic},
	keystore.EventThrottled:        {Type: EventThrottled, Code: fault.Busy},
	keystore.EventClockWentBack:    {Type: EventClock},
	keystore.EventRolledBack:       {Type: EventRefused, Code: fault.RolledBack},
	keystore.EventRollbackAccepted: {Type: EventRollback},
	keystore.EventForked:           {Type: EventRefused, Code: fault.Forked},
	keystore.EventDamaged:          {Type: EventRefused, Code: fault.Incomplete},
}

func (a *Agent) vaultEvent(event string) {
	switch event {
	case keystore.EventChangeMade:
		a.publish() // what the change staged
	case keystore.EventUnconfirmed:
		a.vaultIsFresh()
	case keystore.EventLocked:
		if a.hasSession() { // nobody here asked for it
			go a.vaultLocked()
		}
	}
	switch e, ok := vaultEvents[event]; {
	case !ok:
	case event == keystore.EventRolledBack, event == keystore.EventForked, event == keystore.EventDamaged: // as often as a coordinator likes
		a.rarely(e)
	default:
		a.event(e)
	}
}

// vaultIsFresh ends at once that the session writes, and has the other devices asked: the vault that was taken over has nothing here to be compared with.
func (a *Agent) vaultIsFresh() {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s == nil { // the opening finds out
		return
	}
	s.fresh.Store(true)
	s.sync.poke(taskDevices)
}

func (a *Agent) vaultState() State {
	switch a.vault.State() {
	case keystore.None:
		return StateUnregistered
	case keystore.Locked:
		return StateLocked
	}
	return StateUnlocked
}

// RetryAfter says how long a caller that met fault.Busy for wrong passwords has to wait; 0 if err does not say.
func RetryAfter(err error) time.Duration {
	wait, _ := keystore.RetryAfter(err)
	return wait
}

// versionKeys hands the vault's keys to columnar, which asks by shape.
type versionKeys struct{ vault *keystore.Vault }

// VersionKeys implements columnar.Keys.
func (k versionKeys) VersionKeys(_ context.Context, d columnar.DatasetID, v columnar.Version) (*columnar.VersionKeys, error) {
	it, err := k.vault.Get(versionItem(d, v))
	if err != nil {
		return nil, err
	}
	defer clear(it.Body)
	return columnar.UnmarshalVersionKeys(it.Body)
}

// s3Config turns the vault's settings into those of the client.
func (a *Agent) s3Config(i storeItem) s3.Config {
	endpoint := i.Endpoint
	if endpoint == "" {
		endpoint = "https://s3." + orDefault(i.Region, "us-east-1") + ".amazonaws.com"
	}
	return s3.Config{
		Endpoint: endpoint, Region: i.Region, Bucket: i.Bucket, Prefix: i.Prefix, PathStyle: i.PathStyle, CAFile: i.CAFile,
		Credentials:  s3.NewCredentials(i.AccessKeyID, i.SecretAccessKey, nil),
		Limits:       s3.Limits{Cleanup: cleanupTime}, // what takes longer is the sweep's
		AllowPrivate: a.cfg.Store.AllowPrivate, AllowLoopback: a.cfg.Store.AllowLoopback, AllowPlainHTTP: a.cfg.Store.AllowPlainHTTP,
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// unlockVault opens the vault with the password, and returns the login proof if there is a coordinator.
func (a *Agent) unlockVault(ctx context.Context, r UnlockRequest) (keystore.Proof, error) {
	proof, err := a.vault.UnlockForLogin(ctx, r.Password, keystore.UnlockOptions{AcceptRollback: r.AcceptRollback}, a.hasCoordinator)
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.Conflict, "nobody is registered here")
	}
	return proof, err
}

// register makes the vault and returns the recovery kit's text.
func (a *Agent) register(ctx context.Context, r RegisterRequest) ([]byte, error) {
	kit, err := a.vault.Register(ctx, keystore.Registration{Email: r.Email, Password: r.Password, PasswordOnly: r.PasswordOnly})
	if err != nil {
		return nil, err
	}
	defer kit.Wipe()
	return kit.Text(), nil
}

func (a *Agent) recoverVault(ctx context.Context, r RecoverRequest) error {
	kit, err := keystore.ParseRecoveryKit(r.Kit)
	if err != nil {
		return err
	}
	defer kit.Wipe()
	err = a.vault.Recover(ctx, kit, r.Password)
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.Conflict, "nobody is registered here")
	}
	return err
}

// inBackup are the records beside the vault that a backup holds: datasets, what became of deleted ones (R10), which store they are in, and tokens. Journals and
// events are of this machine: nobody who restores a backup may take the uploads of its day for leftovers.
var inBackup = []string{datasetPrefix, tombstonePrefix, appPrefix, garbagePrefix, usedStoreKey}

func (a *Agent) backupVault(ctx context.Context, w io.Writer) error {
	return a.vault.Backup(ctx, w, func(tx *kv.Tx, put func(string, []byte) error) error {
		for _, prefix := range inBackup {
			if err := tx.Scan(prefix, put); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *Agent) restoreVault(ctx context.Context, r RestoreRequest, backup io.Reader) error {
	o := keystore.RestoreOptions{Password: r.Password, NewPassword: r.NewPassword}
	if len(r.Kit) > 0 {
		kit, err := keystore.ParseRecoveryKit(r.Kit)
		if err != nil {
			return err
		}
		defer kit.Wipe()
		o.Kit = &kit
	}
	return a.vault.Restore(ctx, backup, o)
}
