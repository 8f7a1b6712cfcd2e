package server

import (
	"net/http"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// goleakMain wants no goroutine left once all servers are closed (F19).
func goleakMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }
