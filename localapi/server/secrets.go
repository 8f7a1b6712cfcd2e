package server

import (
	"context"
	"net/http"

	"coldframe/daemon"
)

// ListSecrets lists secrets without their bodies.
func (h *handlers) ListSecrets(ctx context.Context, _ ListSecretsRequestObject) (ListSecretsResponseObject, error) {
	list, err := h.agent.Secrets(ctx)
	return ListSecrets200JSONResponse{Secrets: each(list, secretInfoOf)}, err
}

// SendSecret queues a secret. What was sent before under the same id is answered with 200.
func (h *handlers) SendSecret(ctx context.Context, r SendSecretRequestObject) (SendSecretResponseObject, error) {
	s, repeated, err := h.agent.SendSecret(ctx, daemon.SendSecretRequest{
		ID: deref(r.Body.Id), To: r.Body.To, Title: deref(r.Body.Title), Body: r.Body.Body, Unverified: deref(r.Body.Unverified),
	})
	if repeated {
		return SendSecret200JSONResponse(secretInfoOf(s)), err
	}
	return SendSecret201JSONResponse(secretInfoOf(s)), err
}

// GetSecret returns a secret with its body.
func (h *handlers) GetSecret(ctx context.Context, r GetSecretRequestObject) (GetSecretResponseObject, error) {
	s, err := h.agent.Secret(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	return secretAnswerOf(s), nil
}

// secretAnswer sends a secret and wipes it.
type secretAnswer GetSecret200JSONResponse

func secretAnswerOf(s daemon.Secret) secretAnswer {
	return secretAnswer{
		Ref: s.Ref, From: s.From, To: s.To, Title: s.Title, Body: s.Body, Written: s.Written, Since: s.Since, State: SecretState(s.State),
		Code: text(string(s.Delay)), Verified: s.Verified,
	}
}

func (a secretAnswer) VisitGetSecretResponse(w http.ResponseWriter) error {
	defer clear(a.Body)
	return GetSecret200JSONResponse(a).VisitGetSecretResponse(w)
}

// RemoveSecret removes a secret.
func (h *handlers) RemoveSecret(ctx context.Context, r RemoveSecretRequestObject) (RemoveSecretResponseObject, error) {
	fate, err := h.agent.RemoveSecret(ctx, r.Id)
	return RemoveSecret200JSONResponse{Message: SecretRemovalMessage(fate)}, err
}

func secretInfoOf(s daemon.Secret) SecretInfo {
	return SecretInfo{
		Ref: s.Ref, From: s.From, To: s.To, Title: s.Title, Written: s.Written, Since: s.Since, State: SecretInfoState(s.State), Code: text(string(s.Delay)), Verified: s.Verified,
	}
}
