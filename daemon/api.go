package daemon

import (
	"math"
	"slices"
	"time"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// Scope is what a token may do.
type Scope string

// The scopes. Admin covers everything about the account, the store and the tokens; it does not contain the others.
const (
	ScopeRead  Scope = "read"
	ScopeWrite Scope = "write"
	ScopeShare Scope = "share"
	ScopeAdmin Scope = "admin"
	ScopeKMS   Scope = "kms"
)

// Scopes lists every scope in the order of the documentation.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeWrite, ScopeShare, ScopeAdmin, ScopeKMS} }

// UserTokenID is the id of the user's own token, which is new at each start and may do everything.
const UserTokenID = "user"

// Caller is who a request comes from: the answer of Authenticate.
type Caller struct {
	ID       string   // UserTokenID, or the id of an application's token
	Scopes   []Scope  // what the token may do; not used for the user's own
	Datasets []string // the only datasets it may touch; nil: all of them
	Columns  []string // ids of the only columns that it may have keys of; nil: all
}

// IsUser reports whether this is the user's own token.
func (c Caller) IsUser() bool { return c.ID == UserTokenID }

// Has reports whether the caller's token has scope s.
func (c Caller) Has(s Scope) bool { return c.IsUser() || slices.Contains(c.Scopes, s) }

// Sees reports whether the caller's token covers dataset id; a token for named datasets covers no other one, and none that it creates.
func (c Caller) Sees(id string) bool {
	return c.IsUser() || c.Datasets == nil || slices.Contains(c.Datasets, id)
}

// Opens reports whether the caller's token may have the key of a column.
func (c Caller) Opens(column string) bool {
	return c.IsUser() || c.Columns == nil || slices.Contains(c.Columns, column)
}

// May returns nil if the caller has scope s and, when id is not empty, covers that dataset; else fault.Forbidden. Contacts and secrets are
// the account's: a token for named datasets has nothing to do with them. The server asks once for each request, from its table of
// routes; the agent itself only narrows lists and events to what the caller sees.
func (c Caller) May(s Scope, id string) error {
	switch {
	case !c.Has(s):
		return fault.New(fault.Forbidden, "this token lacks the scope %q", s)
	case s == ScopeShare && id == "" && !c.IsUser() && c.Datasets != nil:
		return fault.New(fault.Forbidden, "this token is for named datasets only")
	case id != "" && !c.Sees(id):
		return fault.New(fault.Forbidden, "this token does not cover the dataset")
	}
	return nil
}

// State is the state of the account as callers meet it.
type State string

// The states. An unattended agent whose API is locked says locked; its vault is open for its own work.
const (
	StateUnregistered State = "unregistered"
	StateLocked       State = "locked"
	StateUnlocked     State = "unlocked"
)

// Status is what GET /v1/status tells. UserID is empty before registration; StoreKind and Datasets are empty while locked.
type Status struct {
	State      State
	ReadOnly   bool // an overridden rollback: reads work, writes are refused with stale
	Unattended bool // a credential opens the vault at start
	UserID     string
	Email      string // while unlocked
	StoreKind  string // "folder", "s3" or ""

	Coordinator *CoordinatorStatus // nil: none is set, or locked
	Device      *DeviceStatus      // nil without a coordinator, or locked

	Cache    *CacheInfo
	Datasets int
	Uploads  int // transfers to the store in work
	Started  time.Time
	IdleLock time.Duration // 0: never
	Warnings []string      // sentences for a person: memory that could not be locked, and the like
}

// RegisterRequest makes an account on this machine. Password is wiped by Register.
type RegisterRequest struct {
	Email        string
	Password     []byte
	PasswordOnly bool // no account key: the password alone opens the vault
}

// RegisterResult holds the recovery kit as text, shown once. The caller wipes Kit.
type RegisterResult struct {
	UserID string
	Kit    []byte
}

// LoginRequest makes this machine a further one of a user whose vault the coordinator at URL keeps: with Password or, where that is lost,
// with NewPassword from now on. Kit is the recovery kit's text; a replaced one does. CA as in CoordinatorRequest. Kit, Password and
// NewPassword are wiped by Login.
type LoginRequest struct {
	URL         string
	CA          string
	Kit         []byte
	Password    []byte
	NewPassword []byte
}

// CoordinatorRequest sets the coordinator. Password is wiped.
type CoordinatorRequest struct {
	Password   []byte
	URL        string
	CA         string // PEM of the only authorities that vouch for it; empty: those of the system
	Invitation string // where the coordinator wants one
	Kit        []byte // text of the recovery kit, so that it logs in where the password is lost; empty: what the coordinator has stays. It is wiped
}

// DeletionRequest removes the account at the coordinator whose address is URL. Password is wiped.
type DeletionRequest struct {
	Password []byte
	URL      string
	Gone     bool // a person says that a deletion whose answer was lost was made, where the coordinator refuses the login
}

// CoordinatorStatus says how it stands with the coordinator: connecting, online, offline, login_needed or refused.
type CoordinatorStatus struct {
	URL   string
	State string
	Since time.Time
	Error fault.Code // why it is not online; empty: nothing has gone wrong
}

// CoordinatorInfo is the setting and its state.
type CoordinatorInfo struct {
	CoordinatorStatus
	CA   string
	Sync SyncStatus
}

// RestoreCoordinatorRequest has the coordinator get back what it lost. Both are wiped.
type RestoreCoordinatorRequest struct {
	Password []byte
	Kit      []byte // text of the recovery kit; empty: the coordinator knows the password
}

// CoordinatorRestored is what RestoreCoordinator put back.
type CoordinatorRestored struct {
	Vault   bool         // the coordinator had an older one, or none
	Links   int          // of the device list
	Records int          // of sessions and prekeys
	Bodies  int          // messages that were received, and not yet taken in
	Left    []RecordLeft // records that were left as the coordinator has them
}

// RecordLeft is a record that this machine did not put back, and why.
type RecordLeft struct {
	Contact string // user id; empty: the prekeys
	Code    fault.Code
}

// SyncStatus says how it stands with what is done with the coordinator, as the last round found it.
type SyncStatus struct {
	Failures []SyncFailure // of tasks; none: all is well
	Device   string        // this machine's place among the user's devices: unknown, unlisted, asking, listed, removed or recovered
	Fresh    bool          // nobody but the coordinator says that this vault is the newest: it is read, and nothing is signed or sent
	Outbox   int           // messages that wait to be sent
	Aside    int           // messages that could not be read
	Findings []HeadFinding // views that do not agree
	Refused  []SessionFault
}

// SessionFault is why a session's stored record is refused until RestartSession: fault.RolledBack if the coordinator has an older one,
// fault.Forked if it has another one.
type SessionFault struct {
	Contact string // user; empty: the prekeys
	Code    fault.Code
}

// SyncFailure is why a task was not done: vault, devices, prekeys, receive, send or heads.
type SyncFailure struct {
	Task string
	Code fault.Code
}

// HeadFinding is one contact's view of an object of this account that does not agree with the one here: fault.RolledBack if they were told a
// newer version, fault.Forked if they were told another one (nothing is written or sent then, see TrustVault); fault.Stale if nobody has echoed any for a day. Or it is a contact's own object
// of which they told two versions: fault.Forked (docs/messages.md, "Heads").
type HeadFinding struct {
	Object   string // vault or devices
	Owner    string // the contact whose object it is; empty: this account's
	Code     fault.Code
	Contact  string // whose claim it is; empty for fault.Stale
	Verified bool   // whether that contact's safety number was compared
}

// UnlockRequest opens the vault. Password is wiped by Unlock.
type UnlockRequest struct {
	Password       []byte
	AcceptRollback bool // open an older vault read-only; logged as an event
}

// RecoverRequest sets a new password with the recovery kit. Kit and Password are wiped by Recover.
type RecoverRequest struct {
	Kit      []byte
	Password []byte
}

// DraftKitRequest asks for a recovery kit that may take the place of the present one. Password is wiped by DraftKit.
type DraftKitRequest struct {
	Password []byte
	Email    string // that the account is to have; empty: the present one
}

// KitRequest makes a drafted recovery kit the valid one. Password and Kit, its text, are wiped.
type KitRequest struct {
	Password []byte
	Kit      []byte
}

// RestoreRequest says how a backup opens: with the password of its time, or with the recovery kit and a new password. On a machine
// without the account key the kit is needed beside the password too. All three are wiped.
type RestoreRequest struct {
	Password    []byte
	Kit         []byte
	NewPassword []byte
}

// AppRequest asks for an application's token. Password is needed for ScopeAdmin and ScopeKMS, and wiped. Columns go with Datasets and
// the one scope ScopeKMS: each must be a column of one of the datasets as they are now. Columns that come later are not covered.
type AppRequest struct {
	Name           string
	Scopes         []Scope
	Datasets       []string // nil: all
	Columns        []string // names; nil: all
	Password       []byte
	IdempotencyKey string
}

// App is an application's token without its secret.
type App struct {
	ID       string
	Name     string
	Scopes   []Scope
	Datasets []string // nil: all
	Columns  []string // names, as they were when the token was made; nil: all
	Created  time.Time
}

// StoreSettings says where objects lie. Kind "folder" uses Path, kind "s3" the rest. SecretAccessKey goes in only: StoreInfo leaves it
// nil; in SetStore nil keeps the credentials that there are. Kept comes out only: why this machine uses a store that is not the one that is set for
// the account; fault.Conflict: its datasets are in it; another code: the one that is set cannot be opened here.
type StoreSettings struct {
	Kind            string
	Path            string
	Bucket          string
	Prefix          string
	Region          string
	Endpoint        string
	PathStyle       bool
	CAFile          string
	AccessKeyID     string
	SecretAccessKey []byte
	Kept            fault.Code
}

// CacheInfo says what is kept on this machine's disk of what was fetched from the bucket.
type CacheInfo struct {
	Used, Limit  int64 // bytes on disk
	Ranges       int
	Hit, Fetched int64 // bytes read since the cache was opened: from the disk; from the bucket
}

// SetStoreRequest changes the store. Force allows a location that does not hold the present datasets. Password is wiped.
type SetStoreRequest struct {
	Settings StoreSettings
	Password []byte
	Force    bool
}

// Probe is one step of CheckStore.
type Probe struct {
	Name  string // what was tried
	Error string // for people: what is wrong and what to do about it; empty: it worked
}

// Column of a dataset. ID outlives renames of the title and stays the same from version to version as long as name and type do.
type Column struct {
	ID   string
	Name string
	Type string // in the words of format.FormatSchema
}

// Member of a dataset's roster.
type Member struct {
	User string
	Role string // "owner", "writer", "reader"
}

// Dataset is what GET /v1/datasets/{id} tells. Version 0: nothing has been written yet, and there are no columns.
type Dataset struct {
	ID      string
	Title   string
	State   string // "ready", "empty" before the first version, "elsewhere" if another device of the user has it: then there is its ID alone
	Version uint64
	Created time.Time
	Updated time.Time
	Rows    int64
	Bytes   int64 // in the store, all parts of the current version
	Columns []Column
	Members []Member
}

// CreateDatasetRequest makes an empty dataset. Title: 1 to 200 characters, no control characters.
type CreateDatasetRequest struct {
	Title          string
	IdempotencyKey string
}

// Version of a dataset. Bytes counts the parts in the store.
type Version struct {
	Number  uint64
	Created time.Time
	Rows    int64
	Bytes   int64
	Parts   int
	Author  string // user id
	Hash    string // of the signed manifest, hex
}

// UnwrapRequest asks for a data key on behalf of another reader of modular encryption.
type UnwrapRequest struct {
	Dataset string
	KeyID   string // the masterKeyID of the key metadata
	Wrapped string // its wrappedDEK
}

// FilesRequest asks where the encrypted parts of a version lie.
type FilesRequest struct {
	Dataset string
	Version uint64 // 0: the current one
}

// Files are the encrypted parts of a version, in the order of the rows.
type Files struct {
	Dataset string
	Version uint64
	Rows    int64
	Columns []FileColumn
	Files   []File
}

// FileColumn is a column of a version; Readable tells whether the caller may have its key.
type FileColumn struct {
	ID       string
	Name     string
	Type     string
	Readable bool
}

// File is one encrypted part: a path on this machine, or a URL that can be read, in ranges too, until Expires. The URL is a bearer secret.
type File struct {
	Name    string // what a link to it may be called
	Path    string
	URL     string
	Expires time.Time
	Rows    int64
	Bytes   int64
}

// WriteRequest replaces or appends to a dataset. The body is read to its end; a body that ends early writes nothing.
type WriteRequest struct {
	Dataset        string
	Append         bool
	AllowNewLayout bool        // replace only: columns may differ from the current version's
	Expect         *uint64     // the version this write is based on; another one is current: conflict
	Format         format.Kind // of the body
	Read           format.ReadOptions
	Import         string // id of PrepareImport: the body is Parquet that another writer encrypted; empty: it is not
	Transfer       string // id in progress events, ^[a-z0-9-]{1,64}$; empty: drawn by the agent
	Total          int64  // bytes in the body if known (Content-Length), else 0
	IdempotencyKey string // 1 to 255 visible ASCII characters, or empty

	// Interrupt, if set, is called when the write must end although the body has not (locked, stopping, the caller gone): it makes a
	// Read of the body that waits for a slow caller return.
	Interrupt func()
}

// WriteResult is the answer to a write that is durable.
type WriteResult struct {
	Dataset  string
	Version  uint64
	Rows     int64 // in the whole new version
	Written  int64 // rows of this request
	Bytes    int64 // stored by this request
	Transfer string
	Replayed bool // the stored answer to an earlier request with this Idempotency-Key
}

// ReadRequest asks for rows. Columns nil: all, in their order; else these names, in this order, each once.
type ReadRequest struct {
	Dataset  string
	Columns  []string
	Where    string // the condition that rows fulfil, as columnar.ParseWhere reads it; empty: all
	Version  uint64 // 0: the current one
	Limit    *int64 // at most so many rows; nil: all
	Transfer string // id in progress events, as in WriteRequest
}

// FromNow as the argument of Subscribe asks for new events only.
const FromNow uint64 = math.MaxUint64

// Event types. Logged ones have an ID and survive a restart; EventProgress is sent to those who listen and then gone.
const (
	EventStarted            = "agent.started"
	EventUnlocked           = "account.unlocked"
	EventLocked             = "account.locked"
	EventPassword           = "account.password_changed"
	EventRecovered          = "account.recovered"
	EventKit                = "account.kit_changed"
	EventEmail              = "account.email_changed" // and the kit
	EventUnattended         = "account.unattended_changed"
	EventRestored           = "account.restored"
	EventLogin              = "account.login" // the vault came from the coordinator: this is a new machine of its user
	EventRollback           = "account.rollback_accepted"
	EventThrottled          = "account.throttled" // too many wrong passwords
	EventRefused            = "check.refused"     // a check of the threat model said no; Code says which
	EventAppCreated         = "app.created"
	EventAppDeleted         = "app.deleted"
	EventStoreChanged       = "store.changed"
	EventStoreKept          = "store.kept" // another device set a store that this machine does not use; Code says why
	EventStoreExtra         = "store.extra_objects"
	EventCoordinatorChanged = "coordinator.changed" // the setting
	EventCoordinatorOnline  = "coordinator.online"
	EventCoordinatorOffline = "coordinator.offline" // or it refuses; Code says why
	EventCoordinatorLogin   = "coordinator.login_needed"
	EventCoordinatorOlder   = "coordinator.restored"        // from an older state, by its own word
	EventCoordinatorPutBack = "coordinator.put_back"        // a person had this machine give it what it lost
	EventCoordinatorDeleted = "coordinator.account_deleted" // there; here it is a local one
	EventDatasetCreated     = "dataset.created"
	EventDatasetRenamed     = "dataset.renamed"
	EventDatasetDeleted     = "dataset.deleted"
	EventVersion            = "dataset.version"
	EventUploadsSwept       = "uploads.swept"
	EventClock              = "clock.jumped"
	EventProgress           = "transfer.progress"
	EventTransferDone       = "transfer.done"
	EventTransferFailed     = "transfer.failed"
	EventSubscriberReset    = "events.reset" // some events were dropped from the log before this subscriber read them
)

// Event is one line of the agent's log or one progress message. It holds ids, codes and numbers; never names, titles or texts of users.
type Event struct {
	ID       uint64 // 0: not logged
	Time     time.Time
	Type     string
	Dataset  string
	Version  uint64
	App      string
	Contact  string // user id
	Code     fault.Code
	Transfer string
	Rows     int64
	Bytes    int64
	Total    int64 // 0: unknown
	Count    int64
}

// Metrics is a snapshot for GET /metrics.
type Metrics struct {
	Datasets, Uploads, Downloads    int64 // present numbers; Uploads and Downloads are transfers in work
	RowsIn, BytesIn, BytesStored    int64 // since start
	RowsOut, WritesOK, WritesFailed int64
	Subscribers, EventsLogged       int64
	Unlocked                        bool
	CacheUsed                       int64 // bytes on disk
	CacheHit, CacheFetched          int64 // bytes read since start
}
