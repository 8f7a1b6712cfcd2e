package server

import "strings"

// limit names a rate limit, of an address for callers without a session, else of an account.
type limit string

const (
	limitNone     limit = ""
	limitAddress  limit = "address"
	limitRegister limit = "register"
	limitLogin    limit = "login"
	limitRefresh  limit = "refresh"
	limitAccount  limit = "account"
	limitLookup   limit = "lookup"
	limitPreKeys  limit = "prekeys"
	limitUpload   limit = "upload"
	limitSend     limit = "send"
	limitEvents   limit = "events"
)

const defaultMaxBody = 16 << 10 // bytes

// route is one operation. The guard enforces what it says before the handler runs, so a handler cannot forget it; a test holds the table against
// openapi.yaml in both directions.
type route struct {
	operation string
	method    string
	path      string
	open      bool // no access token
	limit     limit
	body      bool // application/json
	maxBody   int64
	streaming bool // has no end of its own, and does not count as a request in work
	recovery  bool // also in a session of a recovery proof
}

var routes = []route{
	{operation: "getHealth", method: "GET", path: "/healthz", open: true},
	{operation: "getInfo", method: "GET", path: "/v1/info", open: true, limit: limitAddress},
	{operation: "register", method: "POST", path: "/v1/accounts", open: true, limit: limitRegister, body: true},
	{operation: "login", method: "POST", path: "/v1/sessions", open: true, limit: limitLogin, body: true},
	{operation: "listSessions", method: "GET", path: "/v1/sessions", limit: limitAccount},
	{operation: "endSession", method: "DELETE", path: "/v1/sessions/{device}", limit: limitAccount},
	{operation: "refresh", method: "POST", path: "/v1/sessions/refresh", open: true, limit: limitRefresh, body: true},
	{operation: "logout", method: "DELETE", path: "/v1/sessions", limit: limitAccount, recovery: true},
	{operation: "getAccount", method: "GET", path: "/v1/account", limit: limitAccount, recovery: true},
	{operation: "changeProof", method: "PUT", path: "/v1/account/proof", limit: limitLogin, body: true, maxBody: 5632 << 10, recovery: true},
	{operation: "setRecovery", method: "PUT", path: "/v1/account/recovery", limit: limitLogin, body: true},
	{operation: "deleteAccount", method: "POST", path: "/v1/account/delete", limit: limitLogin, body: true},
	{operation: "lookup", method: "POST", path: "/v1/lookup", limit: limitLookup, body: true},
	{operation: "putPreKeys", method: "PUT", path: "/v1/prekeys", limit: limitUpload, body: true, maxBody: 1152 << 10},
	{operation: "withdrawPreKeys", method: "POST", path: "/v1/prekeys/withdraw", limit: limitLogin, body: true},
	{operation: "getPreKeyStatus", method: "GET", path: "/v1/prekeys/status", limit: limitAccount},
	{operation: "getSenders", method: "GET", path: "/v1/senders", limit: limitAccount},
	{operation: "setSenders", method: "PUT", path: "/v1/senders", limit: limitAccount, body: true, maxBody: 96 << 10},
	{operation: "fetchPreKeys", method: "POST", path: "/v1/users/{user}/prekeys", limit: limitPreKeys, body: true},
	{operation: "sendMessage", method: "POST", path: "/v1/users/{user}/messages", limit: limitSend, body: true, maxBody: 264 << 10},
	{operation: "listMessages", method: "GET", path: "/v1/messages", limit: limitAccount},
	{operation: "acknowledgeMessages", method: "POST", path: "/v1/messages/acknowledge", limit: limitAccount, body: true, maxBody: 64 << 10},
	{operation: "swapBlobs", method: "POST", path: "/v1/blobs", limit: limitAccount, body: true, maxBody: 5632 << 10},
	{operation: "readBlobs", method: "POST", path: "/v1/blobs/read", limit: limitAccount, body: true, maxBody: 32 << 10, recovery: true},
	{operation: "getBlob", method: "GET", path: "/v1/blobs/{name}", limit: limitAccount, recovery: true},
	{operation: "addDeviceLink", method: "POST", path: "/v1/devices", limit: limitAccount, body: true, maxBody: 32 << 10},
	{operation: "listDeviceLinks", method: "GET", path: "/v1/users/{user}/devices", limit: limitAccount},
	{operation: "streamEvents", method: "GET", path: "/v1/events", limit: limitEvents, streaming: true},
}

func (r *route) bodyLimit() int64 {
	if r.maxBody > 0 {
		return r.maxBody
	}
	return defaultMaxBody
}

// findRoute returns the route of a request with the parameter in its path. If only the method is wrong it returns the methods that there are.
func findRoute(method, path string) (r *route, name, value string, allow []string) {
	for i := range routes {
		gotName, gotValue, ok := matchPath(routes[i].path, path)
		switch {
		case ok && routes[i].method == method:
			return &routes[i], gotName, gotValue, nil
		case ok:
			allow = append(allow, routes[i].method)
		}
	}
	return nil, "", "", allow
}

// matchPath compares a path with a pattern, segment by segment; a pattern has one parameter at most.
func matchPath(pattern, path string) (name, value string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return "", "", false
	}
	for i, w := range want {
		switch {
		case strings.HasPrefix(w, "{") && have[i] != "":
			name, value = strings.Trim(w, "{}"), have[i]
		case w != have[i]:
			return "", "", false
		}
	}
	return name, value, true
}

// Operation returns the id of the operation that a request is for, "" if there is none.
func Operation(method, path string) string {
	if r, _, _, _ := findRoute(method, path); r != nil {
		return r.operation
	}
	return ""
}
