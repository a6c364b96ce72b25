package cloudflare

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// The vendor's codes of errors. Those of load balancing count from 1000, those of DNS are five digits long.
const (
	codeInvalidToken  = 1000 // only of the verification of a token
	codeNoZone        = 1001
	codeNotFound      = 1001 // of a part of a load balancer
	codeInvalid       = 1002
	codeNotUnique     = 1003
	codeQuota         = 1004 // not published; the number between two that are
	codeReferenced    = 1005
	codeHealth        = 1006 // not published; the text is
	codeHostname      = 1010 // of the Origin CA
	codeCSR           = 1012 // of the Origin CA; not published
	codeNoCertificate = 1101 // of the Origin CA
	codeBadHeaders    = 6003
	codeNoRoute       = 7003
	codeContentA      = 9005
	codeContentAAAA   = 9006
	codeContentCNAME  = 9007
	codeTTL           = 9021
	codeNoCredentials = 9106
	codeUnauthorized  = 9109
	codeForbidden     = 10000
	codeTooMany       = 10100
	codeMethod        = 10405
	codeInternal      = 10500 // not published
	codeNoRecord      = 81044
	codeHostTaken     = 81053
	codeCNAMETaken    = 81054
	codeIdentical     = 81058
	codeRecordInvalid = 81061 // not published
)

// problem is one entry of the vendor's list of errors.
type problem struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// apiError is an answer other than success.
type apiError struct {
	status   int
	problems []problem
}

// Error implements error.
func (e *apiError) Error() string {
	if len(e.problems) == 0 {
		return http.StatusText(e.status)
	}
	return e.problems[0].Message
}

func fail(status, code int, text string) *apiError {
	return &apiError{status: status, problems: []problem{{Code: code, Message: text}}}
}

// invalid is how the load balancing API says that a field is wrong.
func invalid(format string, values ...any) *apiError {
	return fail(http.StatusBadRequest, codeInvalid, fmt.Sprintf(format, values...)+": validation failed")
}

func notFound(what string) *apiError {
	return fail(http.StatusNotFound, codeNotFound, what+" not found")
}

func noRoute(path string) *apiError {
	return &apiError{status: http.StatusNotFound, problems: []problem{
		{codeNoRoute, "Could not route to " + base + path + ", perhaps your object identifier is invalid?"},
	}}
}

func referenced() *apiError {
	return fail(http.StatusPreconditionFailed, codeReferenced, "This object is referenced by other objects, delete them first.")
}

// envelope is around every answer.
type envelope struct {
	Result     any         `json:"result"`
	Success    bool        `json:"success"`
	Errors     []problem   `json:"errors"`
	Messages   []problem   `json:"messages"`
	ResultInfo *resultInfo `json:"result_info,omitempty"`
}

// resultInfo tells clients that page how much there is; one that lies keeps them paging for ever.
type resultInfo struct {
	Page       int `json:"page"`
	PerPage    int `json:"per_page"`
	Count      int `json:"count"`
	TotalCount int `json:"total_count"`
	TotalPages int `json:"total_pages"`
}

func writeJSON(w http.ResponseWriter, status int, body envelope) {
	if body.Errors == nil {
		body.Errors = []problem{}
	}
	body.Messages = []problem{}
	data, err := json.Marshal(body)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"result":null,"success":false,"errors":[],"messages":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone already
}

func writeError(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = fail(http.StatusInternalServerError, codeInternal, err.Error())
	}
	writeJSON(w, e.status, envelope{Errors: e.problems})
}
