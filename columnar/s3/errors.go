package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"coldframe/internal/fault"
)

// answerError is an error answer without its text, which is the server's and may hold anything.
type answerError struct {
	op     string
	status int
	code   string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("%s: status %d, code %q", e.op, e.status, e.code)
}

// verdict is what to make of a failed attempt.
type verdict struct {
	err   *fault.Error
	retry bool
	after time.Duration // the server asks to wait so long
}

// full are the codes by which servers say that there is no room.
var full = map[string]bool{
	"InsufficientStorage": true, "QuotaExceeded": true, "XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true,
	"StorageFull": true, "ServiceQuotaExceeded": true, "NotEnoughSpace": true,
}

// again are codes of answers below 500 that mean "send it once more".
var again = map[string]bool{
	"RequestTimeout": true, "SlowDown": true, "Throttling": true, "TooManyRequests": true, "BadDigest": true, "IncompleteBody": true,
	"XAmzContentSHA256Mismatch": true, "XAmzContentChecksumMismatch": true, "ConditionalRequestConflict": true, "OperationAborted": true,
}

// judge makes a verdict of the error of an attempt.
func judge(op string, err error) verdict {
	var known *fault.Error
	if errors.As(err, &known) { // the dialler's, or our own
		return verdict{err: known}
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.Response.Response != nil && answer.HTTPStatusCode() >= 300 {
		return judgeAnswer(op, answer, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) { // an error inside an answer of status 200
		return judgeCode(&answerError{op: op, status: http.StatusOK, code: clean(api.ErrorCode())}, 0)
	}
	return judgeTransport(op, err)
}

func judgeAnswer(op string, answer *awshttp.ResponseError, err error) verdict {
	a := &answerError{op: op, status: answer.HTTPStatusCode()}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.code = clean(api.ErrorCode())
	}
	var after time.Duration
	if n, err := strconv.Atoi(answer.Response.Header.Get("Retry-After")); err == nil && n > 0 {
		after = min(time.Duration(n)*time.Second, maxBackoff)
	}
	return judgeCode(a, after)
}

func judgeCode(a *answerError, after time.Duration) verdict {
	no := func(c fault.Code, detail string) verdict { return verdict{err: fault.Wrap(c, a, "%s", detail)} }
	switch s := a.status; {
	case full[a.code], s == http.StatusInsufficientStorage:
		return no(fault.StorageFull, "the store is full, or over its quota")
	case again[a.code], s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
	case a.code == "NoSuchBucket":
		return no(fault.InvalidRequest, "there is no such bucket")
	case a.code == "RequestTimeTooSkewed":
		return no(fault.Forbidden, "the clocks of this machine and of the store differ")
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return no(fault.Forbidden, "the store refuses these credentials")
	case s == http.StatusNotFound, s == http.StatusGone:
		return no(fault.NotFound, "no such object")
	case s == http.StatusPreconditionFailed:
		return no(fault.Conflict, "an object of that name exists")
	case s == http.StatusRequestedRangeNotSatisfiable:
		return no(fault.Incomplete, "the object is shorter than the range")
	case s == http.StatusRequestEntityTooLarge, a.code == "EntityTooLarge":
		return no(fault.TooLarge, "the store does not take objects of this length")
	case s >= 300 && s < 400:
		return no(fault.Policy, "the store points elsewhere, which is not followed; look at its address and region")
	case s == http.StatusNotImplemented:
		return no(fault.Policy, "the store cannot do this")
	case s >= 400 && s < 500 && s != http.StatusConflict:
		return no(fault.Policy, "the store does not understand the request")
	}
	return verdict{err: fault.Wrap(fault.Unavailable, a, "the store does not work at the moment"), retry: true, after: after}
}

func judgeTransport(op string, err error) verdict {
	detail, retry := "the store cannot be reached", true
	var unknown x509.UnknownAuthorityError
	var wrong x509.HostnameError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown), errors.As(err, &wrong), errors.As(err, &cert):
		detail, retry = "the store's certificate is not trusted", false
	case errors.Is(err, errStalled), errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded):
		detail = "the store did not answer in time"
	}
	var u *url.Error // its text holds the address with the object's name
	if errors.As(err, &u) {
		err = u.Err
	}
	return verdict{err: fault.Wrap(fault.Unavailable, fmt.Errorf("%s: %w", op, err), "%s", detail), retry: retry}
}

// clean keeps an error code only if it looks like one.
func clean(code string) string {
	if len(code) > 64 {
		return ""
	}
	for _, c := range code {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return code
}

// stopped is the error of a context that the caller ended.
func stopped(ctx context.Context) error {
	return fault.Wrap(fault.Unavailable, ctx.Err(), "stopped")
}
