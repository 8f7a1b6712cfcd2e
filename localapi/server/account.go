package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
	"coldframe/keystore/passphrase"
)

// Register makes an account.
func (h *handlers) Register(ctx context.Context, r RegisterRequestObject) (RegisterResponseObject, error) {
	req := daemon.RegisterRequest{Email: r.Body.Email, Password: []byte(r.Body.Password), PasswordOnly: deref(r.Body.PasswordOnly)}
	res, err := h.agent.Register(ctx, req)
	if err != nil {
		return nil, suggest(err)
	}
	defer clear(res.Kit)
	return Register201JSONResponse{UserId: res.UserID, RecoveryKit: string(res.Kit)}, nil
}

// suggest adds a generated passphrase to the refusal of a password.
func suggest(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Code != fault.Policy {
		return err
	}
	return &statusError{cause: e, problemExtra: problemExtra{passphrase: passphrase.New()}}
}

// Login makes this a further machine of a user.
func (h *handlers) Login(ctx context.Context, r LoginRequestObject) (LoginResponseObject, error) {
	return Login204Response{}, h.agent.Login(ctx, daemon.LoginRequest{
		URL: r.Body.Url, CA: deref(r.Body.Ca), Kit: bytesOf(r.Body.RecoveryKit), Password: bytesOf(r.Body.Password), NewPassword: bytesOf(r.Body.NewPassword),
	})
}

// Unlock opens the vault.
func (h *handlers) Unlock(ctx context.Context, r UnlockRequestObject) (UnlockResponseObject, error) {
	err := h.agent.Unlock(ctx, daemon.UnlockRequest{Password: []byte(r.Body.Password), AcceptRollback: deref(r.Body.AcceptRollback)})
	if err != nil {
		return nil, err
	}
	return Unlock204Response{}, nil
}

// Lock wipes the keys.
func (h *handlers) Lock(ctx context.Context, _ LockRequestObject) (LockResponseObject, error) {
	if err := h.agent.Lock(ctx); err != nil {
		return nil, err
	}
	return Lock204Response{}, nil
}

// ChangePassword changes the password.
func (h *handlers) ChangePassword(ctx context.Context, r ChangePasswordRequestObject) (ChangePasswordResponseObject, error) {
	if err := h.agent.ChangePassword(ctx, []byte(r.Body.Password), []byte(r.Body.NewPassword)); err != nil {
		return nil, suggest(err)
	}
	return ChangePassword204Response{}, nil
}

// Recover sets a new password with the recovery kit.
func (h *handlers) Recover(ctx context.Context, r RecoverRequestObject) (RecoverResponseObject, error) {
	err := h.agent.Recover(ctx, daemon.RecoverRequest{Kit: []byte(r.Body.RecoveryKit), Password: []byte(r.Body.NewPassword)})
	if err != nil {
		return nil, suggest(err)
	}
	return Recover204Response{}, nil
}

// EnableUnattended hands out the credential that opens the vault.
func (h *handlers) EnableUnattended(ctx context.Context, r EnableUnattendedRequestObject) (EnableUnattendedResponseObject, error) {
	credential, err := h.agent.EnableUnattended(ctx, []byte(r.Body.Password))
	if err != nil {
		return nil, err
	}
	defer clear(credential)
	return EnableUnattended200JSONResponse{Credential: string(credential)}, nil
}

// DisableUnattended makes the credential worthless.
func (h *handlers) DisableUnattended(ctx context.Context, r DisableUnattendedRequestObject) (DisableUnattendedResponseObject, error) {
	if err := h.agent.DisableUnattended(ctx, []byte(r.Body.Password)); err != nil {
		return nil, err
	}
	return DisableUnattended204Response{}, nil
}

// Backup streams an encrypted backup.
func (h *handlers) Backup(ctx context.Context, r BackupRequestObject) (BackupResponseObject, error) {
	return streamed{"application/octet-stream", func(w io.Writer) error { return h.agent.Backup(ctx, []byte(r.Body.Password), w) }}, nil
}

// Restore restores a backup.
func (h *handlers) Restore(ctx context.Context, r RestoreRequestObject) (RestoreResponseObject, error) {
	err := h.agent.Restore(ctx, daemon.RestoreRequest{
		Password: bytesOf(r.Body.Password), Kit: bytesOf(r.Body.RecoveryKit), NewPassword: bytesOf(r.Body.NewPassword),
	}, bytes.NewReader(r.Body.Backup))
	if err != nil {
		return nil, suggest(err)
	}
	return Restore204Response{}, nil
}

// GetStore tells where objects go.
func (h *handlers) GetStore(ctx context.Context, _ GetStoreRequestObject) (GetStoreResponseObject, error) {
	s, err := h.store(ctx)
	return GetStore200JSONResponse(s), err
}

// SetStore chooses a folder or a bucket.
func (h *handlers) SetStore(ctx context.Context, r SetStoreRequestObject) (SetStoreResponseObject, error) {
	b := r.Body
	set := daemon.StoreSettings{
		Kind: string(b.Kind), Path: deref(b.Path), AccessKeyID: deref(b.AccessKeyId), SecretAccessKey: bytesOf(b.SecretAccessKey),
	}
	defer clear(set.SecretAccessKey)
	switch {
	case b.Kind == StoreRequestKindFolder && (b.S3 != nil || b.Path == nil):
		return nil, apicheck.InvalidField("/path", "a folder needs a path, and nothing of a bucket")
	case b.Kind == StoreRequestKindS3 && (b.S3 == nil || b.Path != nil):
		return nil, apicheck.InvalidField("/s3", "a bucket needs s3, and no path")
	case b.S3 != nil:
		set.Bucket, set.Prefix, set.Region = b.S3.Bucket, deref(b.S3.Prefix), deref(b.S3.Region)
		set.Endpoint, set.PathStyle, set.CAFile = deref(b.S3.Endpoint), deref(b.S3.PathStyle), deref(b.S3.CaFile)
	}
	if err := h.agent.SetStore(ctx, daemon.SetStoreRequest{Settings: set, Password: []byte(b.Password), Force: deref(b.Force)}); err != nil {
		return nil, err
	}
	s, err := h.store(ctx)
	return SetStore200JSONResponse(s), err
}

// store tells where objects go, and what of them is kept here.
func (h *handlers) store(ctx context.Context) (Store, error) {
	s, err := h.agent.StoreInfo(ctx)
	if err != nil {
		return Store{}, err
	}
	cache, err := h.agent.CacheInfo(ctx)
	if err != nil {
		return Store{}, err
	}
	out := storeOf(s)
	out.Cache, out.Kept = cacheOf(cache), text(string(s.Kept))
	return out, nil
}

func cacheOf(c *daemon.CacheInfo) *Cache {
	if c == nil {
		return nil
	}
	return &Cache{UsedBytes: c.Used, LimitBytes: c.Limit, Ranges: c.Ranges, HitBytes: c.Hit, FetchedBytes: c.Fetched}
}

// ClearCache empties the cache of the bucket.
func (h *handlers) ClearCache(ctx context.Context, _ ClearCacheRequestObject) (ClearCacheResponseObject, error) {
	if err := h.agent.ClearCache(ctx); err != nil {
		return nil, err
	}
	return ClearCache204Response{}, nil
}

func storeOf(s daemon.StoreSettings) Store {
	switch s.Kind {
	case "folder":
		return Store{Kind: StoreKindFolder, Path: text(s.Path)}
	case "s3":
		return Store{Kind: StoreKindS3, S3: &S3{
			Bucket: s.Bucket, Prefix: text(s.Prefix), Region: text(s.Region), Endpoint: text(s.Endpoint), PathStyle: &s.PathStyle, CaFile: text(s.CAFile),
		}}
	}
	return Store{Kind: StoreKindNone}
}

// CheckStore tries the store.
func (h *handlers) CheckStore(ctx context.Context, _ CheckStoreRequestObject) (CheckStoreResponseObject, error) {
	probes, err := h.agent.CheckStore(ctx)
	if err != nil {
		return nil, err
	}
	out := StoreCheck{Ok: true, Probes: []StoreProbe{}}
	for _, p := range probes {
		out.Ok = out.Ok && p.Error == ""
		out.Probes = append(out.Probes, StoreProbe{Name: p.Name, Ok: p.Error == "", Error: text(p.Error)})
	}
	return CheckStore200JSONResponse(out), nil
}

// streamed is an answer of unknown length. Its header goes out with the first byte, so that a failure before it is still a problem.
type streamed struct {
	mediaType string
	write     func(io.Writer) error
}

// VisitBackupResponse implements BackupResponseObject.
func (s streamed) VisitBackupResponse(w http.ResponseWriter) error { return s.send(w) }

func (s streamed) send(w http.ResponseWriter) error {
	lazy := &lazyHeader{w: w, mediaType: s.mediaType}
	if err := s.write(lazy); err != nil {
		return err
	}
	lazy.begin()
	return nil
}

type lazyHeader struct {
	w         http.ResponseWriter
	mediaType string
	begun     bool
}

func (l *lazyHeader) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.mediaType)
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *lazyHeader) Write(p []byte) (int, error) {
	l.begin()
	return l.w.Write(p)
}
