package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// What is sent part by part is what the generated types would be as JSON, byte for byte.
func TestSentPartByPart(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	version := state.Version{Counter: 3, Hash: fill(1, 32), Previous: fill(2, 32), Nonce: fill(3, 16), BodyHash: fill(4, 32), Size: 5, Time: at}
	gone := version
	gone.BodyHash = fill(0, 32)
	page, want := blobPage{bodies: true, epoch: "E", Page: state.Page{More: true, Change: 7, Floor: 2}}, BlobPage{Blobs: []Blob{}, More: true, Change: 7, Floor: 2, Epoch: "E"}
	mail, wantMail := inbox{epoch: "E"}, Inbox{Epoch: "E", Messages: []Message{}}
	links, wantLinks := deviceLinks{more: true}, DeviceLinks{Links: []DeviceLink{}, More: true}
	for n := range 4 { // with none, one and several
		for _, c := range []struct {
			visit func(http.ResponseWriter) error
			want  any
		}{
			{page.VisitReadBlobsResponse, want},
			{mail.VisitListMessagesResponse, wantMail},
			{links.VisitListDeviceLinksResponse, wantLinks},
			{
				blobBody{Version: version, Body: fill(8, n)}.VisitGetBlobResponse,
				BlobBody{Counter: 3, Hash: version.Hash, Previous: version.Previous, Nonce: version.Nonce, Body: fill(8, n)},
			},
		} {
			r := httptest.NewRecorder()
			b, err := json.Marshal(c.want)
			if err := errors.Join(err, c.visit(r)); err != nil || !bytes.Equal(r.Body.Bytes(), b) || r.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%v\n%s\n%s", err, r.Body, b)
			}
		}
		body := fill(byte(n), n*9000)
		blob := state.Blob{Name: fmt.Sprint("b-", n), Version: version, Earlier: []state.Version{version, gone}, Kept: 1, Change: 9}
		if n == 2 {
			blob.Version, body = gone, nil
		}
		out := blobOf(blob)
		if n != 2 {
			out.Body = &body
		}
		page.Blobs, want.Blobs = append(page.Blobs, state.BlobAndBody{Blob: blob, Body: body}), append(want.Blobs, out)
		mail.list = append(mail.list, state.Message{Sequence: 4, ID: "i", Sender: "s", Time: at, Body: fill(7, n)})
		wantMail.Messages = append(wantMail.Messages, Message{Sequence: 4, Id: "i", Sender: "s", Time: at, Body: fill(7, n)})
		links.list = append(links.list, state.Link{Sequence: 4, Body: fill(7, n)})
		wantLinks.Links = append(wantLinks.Links, DeviceLink{Sequence: 4, Link: fill(7, n)})
	}
}

// An answer that grew after it was measured is not held beyond its loan: it is let go, and gets a larger one.
func TestAnswersThatGrow(t *testing.T) {
	p := newPool(amounts{all: 100, account: 100})
	c := &call{caller: state.Caller{User: "u"}}
	c.lend = func(ctx context.Context, n int64) (err error) { c.loan, err = p.take(ctx, c, n); return err }
	ctx := context.WithValue(t.Context(), callKey{}, c)
	sizes, reads := []int64{10, 20, 30}, []int64{20, 15}
	pop := func(list *[]int64) (n int64, err error) {
		n, *list = (*list)[0], (*list)[1:]
		return n, nil
	}
	err := holding(ctx, func() (int64, error) { return pop(&sizes) }, func() (int64, error) { return pop(&reads) })
	if err != nil || c.loan.n != 15 || len(reads) != 0 || !p.total.TryAcquire(85) || p.total.TryAcquire(1) {
		t.Errorf("%v, a loan of %d", err, c.loan.n)
	}
	c.loan.release()
	err = holding(ctx, func() (int64, error) { return 1, nil }, func() (int64, error) { return 2, nil })
	if !errors.Is(err, fault.Busy) || !p.total.TryAcquire(15) {
		t.Errorf("one that grows each time: %v", err)
	}
}

// An answer without a loan has a bound, whatever its handler writes.
func TestAnswersWithoutRoom(t *testing.T) {
	a := &answer{ResponseWriter: httptest.NewRecorder(), call: &call{}, pace: defaultPace, control: http.NewResponseController(httptest.NewRecorder())}
	if _, err := a.Write(make([]byte, unlent)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, errUnlent) {
		t.Error(err)
	}
}
