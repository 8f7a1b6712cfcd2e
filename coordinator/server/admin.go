package server

import (
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// The operator's commands talk to the running coordinator over a Unix socket in its folder, which nobody else may enter: the store is open once.

// InviteRequest asks for an invitation.
type InviteRequest struct {
	Uses  int           `json:"uses"`
	Valid time.Duration `json:"valid"`
}

// Invited is an invitation.
type Invited struct {
	Invitation string `json:"invitation"`
}

// UserList is a page of users.
type UserList struct {
	Users []state.User `json:"users"`
}

// UserChange turns an account off or on, or gives it a quota.
type UserChange struct {
	Disabled *bool        `json:"disabled,omitempty"`
	Quota    *state.Quota `json:"quota,omitempty"`
}

// Admin answers the operator's commands: POST /invite, GET /users?after=ID, POST /users/ID, GET /backup. It has no checks of its own for who calls.
func (s *Server) Admin() *http.Server {
	m := http.NewServeMux()
	m.HandleFunc("POST /invite", adminCall(func(r *http.Request, q InviteRequest) (any, error) {
		i, err := s.state.Invite(r.Context(), q.Uses, q.Valid)
		return Invited{i}, err
	}))
	m.HandleFunc("GET /users", adminCall(func(r *http.Request, _ struct{}) (any, error) {
		list, err := s.state.Users(r.Context(), state.UserID(r.URL.Query().Get("after")))
		return UserList{list}, err
	}))
	m.HandleFunc("POST /users/{id}", adminCall(s.changeUser))
	m.HandleFunc("GET /backup", s.adminBackup)
	return &http.Server{Handler: m, ReadHeaderTimeout: headTime, ErrorLog: log.New(io.Discard, "", 0)}
}

func (s *Server) changeUser(r *http.Request, q UserChange) (any, error) {
	id := state.UserID(r.PathValue("id"))
	if !id.Valid() {
		return nil, fault.New(fault.InvalidRequest, "not the id of a user")
	}
	if q.Disabled != nil {
		if err := s.state.Disable(r.Context(), id, *q.Disabled); err != nil {
			return nil, err
		}
	}
	if q.Quota != nil {
		if err := s.state.SetQuota(r.Context(), id, *q.Quota); err != nil {
			return nil, err
		}
	}
	s.o.Logger.LogAttrs(r.Context(), slog.LevelInfo, "account changed by the operator", q.attrs(id)...)
	return struct{}{}, nil
}

// attrs is what the log says of a change: a restore is followed by doing again what happened since the backup.
func (q UserChange) attrs(id state.UserID) []slog.Attr {
	list := []slog.Attr{slog.String("user", string(id))}
	if q.Disabled != nil {
		list = append(list, slog.Bool("disabled", *q.Disabled))
	}
	if q.Quota != nil {
		list = append(list, slog.Any("quota", *q.Quota))
	}
	return list
}

// adminCall reads a request, calls fn and writes its answer or the problem.
func adminCall[Q any](fn func(*http.Request, Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		var v any
		d := json.NewDecoder(io.LimitReader(r.Body, defaultMaxBody))
		d.DisallowUnknownFields()
		err := error(nil)
		if r.Method == http.MethodPost && d.Decode(&q) != nil {
			err = fault.New(fault.InvalidRequest, "the request cannot be read")
		}
		if err == nil {
			v, err = fn(r, q)
		}
		if err != nil {
			writeProblem(w, err, &call{id: "admin", caller: state.Caller{User: operator}})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v) //nolint:errcheck // the caller has gone
	}
}

// adminBackup streams a backup. One that fails breaks off, and lacks its end.
func (s *Server) adminBackup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.state.Backup(r.Context(), w); err != nil {
		s.o.Logger.Error("the backup broke off", slog.String("error", err.Error()))
		panic(http.ErrAbortHandler)
	}
	s.o.Logger.Info("a backup was made")
}
