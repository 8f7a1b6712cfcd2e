package server

import (
	"net/http"
	"strings"

	"coldframe/daemon"
)

// Scopes of the table beside those of the daemon.
const (
	scopeNone daemon.Scope = "none" // no token
	scopeAny  daemon.Scope = "any"  // whatever valid token
)

// body says what a route takes.
type body int

const (
	noBody    body = iota // GET
	jsonBody              // application/json, read whole and checked against its schema
	tableBody             // one of the four table types, streamed
)

const (
	maxBody       = 1 << 20  // of a JSON body in bytes
	maxImportBody = 12 << 20 // of POST /v1/imports: key material of 8 MiB in base64
	maxBackupBody = 96 << 20 // of POST /v1/restore: a backup of 64 MiB in base64
	maxSecretBody = 96 << 10 // of POST /v1/secrets: a secret of 64 KiB in base64
)

// route is one operation. The guard enforces what it says before the handler runs, so a handler cannot forget it; a test holds the table against
// openapi.yaml in both directions.
type route struct {
	operation string
	method    string
	path      string
	scope     daemon.Scope
	body      body
	maxBody   int64
	streaming bool // answer or body have no bound in length and end after 30 s without progress
	password  bool // the body must carry the password again (L23)
	events    bool // does not count as a request in work, nor as activity of the user
	dataset   bool // {id} is a dataset, which the token must cover
	quiet     bool // not activity of the user: it does not put off the idle lock
}

var routes = []route{
	{operation: "getHealth", method: "GET", path: "/healthz", scope: scopeNone, quiet: true},
	{operation: "getMetrics", method: "GET", path: "/metrics", scope: scopeAny, quiet: true},
	{operation: "getStatus", method: "GET", path: "/v1/status", scope: scopeAny, quiet: true},
	{operation: "register", method: "POST", path: "/v1/register", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "login", method: "POST", path: "/v1/login", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "unlock", method: "POST", path: "/v1/unlock", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "lock", method: "POST", path: "/v1/lock", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "changePassword", method: "PUT", path: "/v1/password", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "recover", method: "POST", path: "/v1/recover", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "draftKit", method: "POST", path: "/v1/recovery-kit", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "replaceKit", method: "PUT", path: "/v1/recovery-kit", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "checkKit", method: "POST", path: "/v1/recovery-kit/check", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "changeEmail", method: "PUT", path: "/v1/email", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "enableUnattended", method: "PUT", path: "/v1/unattended", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "disableUnattended", method: "DELETE", path: "/v1/unattended", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "backup", method: "POST", path: "/v1/backup", scope: daemon.ScopeAdmin, body: jsonBody, streaming: true, password: true},
	{operation: "restore", method: "POST", path: "/v1/restore", scope: daemon.ScopeAdmin, body: jsonBody, maxBody: maxBackupBody},
	{operation: "getStore", method: "GET", path: "/v1/store", scope: daemon.ScopeAdmin},
	{operation: "setStore", method: "PUT", path: "/v1/store", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "checkStore", method: "POST", path: "/v1/store/check", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "clearCache", method: "DELETE", path: "/v1/store/cache", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "getCoordinator", method: "GET", path: "/v1/coordinator", scope: daemon.ScopeAdmin},
	{operation: "connectCoordinator", method: "PUT", path: "/v1/coordinator", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "disconnectCoordinator", method: "DELETE", path: "/v1/coordinator", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "restartSession", method: "POST", path: "/v1/coordinator/restart", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "clearFinding", method: "POST", path: "/v1/coordinator/clear", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "listAside", method: "GET", path: "/v1/messages/aside", scope: daemon.ScopeAdmin},
	{operation: "forgetAside", method: "DELETE", path: "/v1/messages/aside/{id}", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "restoreCoordinator", method: "POST", path: "/v1/coordinator/restore", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "deleteCoordinatorAccount", method: "POST", path: "/v1/coordinator/delete-account", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "listDevices", method: "GET", path: "/v1/devices", scope: daemon.ScopeAdmin},
	{operation: "askToJoin", method: "POST", path: "/v1/devices/ask", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "listDeviceRequests", method: "GET", path: "/v1/devices/requests", scope: daemon.ScopeAdmin},
	{operation: "recoverDevices", method: "POST", path: "/v1/devices/recover", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "acceptRecovery", method: "POST", path: "/v1/devices/accept-recovery", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "trustVault", method: "POST", path: "/v1/devices/trust-vault", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "resetDevice", method: "POST", path: "/v1/devices/reset", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "renameDevice", method: "PATCH", path: "/v1/devices/{id}", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "removeDevice", method: "DELETE", path: "/v1/devices/{id}", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "approveDevice", method: "POST", path: "/v1/devices/{id}/approve", scope: daemon.ScopeAdmin, body: jsonBody, password: true},
	{operation: "listApps", method: "GET", path: "/v1/apps", scope: daemon.ScopeAdmin},
	{operation: "createApp", method: "POST", path: "/v1/apps", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "deleteApp", method: "DELETE", path: "/v1/apps/{id}", scope: daemon.ScopeAdmin, body: jsonBody},
	{operation: "listDatasets", method: "GET", path: "/v1/datasets", scope: daemon.ScopeRead},
	{operation: "createDataset", method: "POST", path: "/v1/datasets", scope: daemon.ScopeWrite, body: jsonBody},
	{operation: "getDataset", method: "GET", path: "/v1/datasets/{id}", scope: daemon.ScopeRead, dataset: true},
	{operation: "renameDataset", method: "PATCH", path: "/v1/datasets/{id}", scope: daemon.ScopeWrite, body: jsonBody, dataset: true},
	{operation: "deleteDataset", method: "DELETE", path: "/v1/datasets/{id}", scope: daemon.ScopeWrite, body: jsonBody, dataset: true},
	{operation: "readData", method: "GET", path: "/v1/datasets/{id}/data", scope: daemon.ScopeRead, dataset: true, streaming: true},
	{operation: "replaceData", method: "PUT", path: "/v1/datasets/{id}/data", scope: daemon.ScopeWrite, body: tableBody, dataset: true, streaming: true},
	{operation: "appendData", method: "POST", path: "/v1/datasets/{id}/data", scope: daemon.ScopeWrite, body: tableBody, dataset: true, streaming: true},
	{operation: "prepareImport", method: "POST", path: "/v1/imports", scope: daemon.ScopeWrite, body: jsonBody, maxBody: maxImportBody},
	{operation: "listVersions", method: "GET", path: "/v1/datasets/{id}/versions", scope: daemon.ScopeRead, dataset: true},
	{operation: "listFiles", method: "GET", path: "/v1/datasets/{id}/files", scope: daemon.ScopeKMS, dataset: true},
	{operation: "unwrapKey", method: "POST", path: "/v1/kms/unwrap", scope: daemon.ScopeKMS, body: jsonBody},
	{operation: "query", method: "POST", path: "/v1/query", scope: daemon.ScopeRead, body: jsonBody, streaming: true},
	{operation: "listContacts", method: "GET", path: "/v1/contacts", scope: daemon.ScopeShare},
	{operation: "addContact", method: "POST", path: "/v1/contacts", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "getContact", method: "GET", path: "/v1/contacts/{id}", scope: daemon.ScopeShare},
	{operation: "renameContact", method: "PATCH", path: "/v1/contacts/{id}", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "removeContact", method: "DELETE", path: "/v1/contacts/{id}", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "acceptContact", method: "POST", path: "/v1/contacts/{id}/accept", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "blockContact", method: "POST", path: "/v1/contacts/{id}/block", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "getSafetyNumber", method: "GET", path: "/v1/contacts/{id}/safety-number", scope: daemon.ScopeShare},
	{operation: "verifyContact", method: "PUT", path: "/v1/contacts/{id}/verified", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "unverifyContact", method: "DELETE", path: "/v1/contacts/{id}/verified", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "resolveContact", method: "POST", path: "/v1/contacts/{id}/resolve", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "listSecrets", method: "GET", path: "/v1/secrets", scope: daemon.ScopeShare},
	{operation: "sendSecret", method: "POST", path: "/v1/secrets", scope: daemon.ScopeShare, body: jsonBody, maxBody: maxSecretBody},
	{operation: "getSecret", method: "GET", path: "/v1/secrets/{id}", scope: daemon.ScopeShare},
	{operation: "removeSecret", method: "DELETE", path: "/v1/secrets/{id}", scope: daemon.ScopeShare, body: jsonBody},
	{operation: "streamEvents", method: "GET", path: "/v1/events", scope: daemon.ScopeRead, streaming: true, events: true, quiet: true},
}

// bodyLimit returns the bound of a JSON body in bytes.
func (r *route) bodyLimit() int64 {
	if r.maxBody > 0 {
		return r.maxBody
	}
	return maxBody
}

// findRoute returns the route of a request and the {id} in its path. If only the method is wrong it returns the methods that there are.
func findRoute(method, path string) (r *route, id string, allow []string) {
	for i := range routes {
		got, ok := matchPath(routes[i].path, path)
		switch {
		case ok && routes[i].method == method:
			return &routes[i], got, nil
		case ok:
			allow = append(allow, routes[i].method)
		}
	}
	return nil, "", allow
}

// matchPath compares a path with a pattern, segment by segment.
func matchPath(pattern, path string) (id string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return "", false
	}
	for i, w := range want {
		switch {
		case w == "{id}" && have[i] != "":
			id = have[i]
		case w != have[i]:
			return "", false
		}
	}
	return id, true
}

// validID reports whether id is one that an object of the agent can have (L13).
func validID(id string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return id != "" && len(id) <= 64 && strings.Trim(id, alphabet) == ""
}

// changes reports whether a method may change something.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead
}
