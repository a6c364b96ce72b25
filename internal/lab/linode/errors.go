package linode

import (
	"encoding/json"
	"errors"
	"net/http"
)

// reason is one entry of the vendor's error body.
type reason struct {
	Reason string `json:"reason"`
	Field  string `json:"field,omitempty"`
}

// apiError is an answer other than success.
type apiError struct {
	status  int
	reasons []reason
}

// Error implements error.
func (e *apiError) Error() string {
	if len(e.reasons) == 0 {
		return http.StatusText(e.status)
	}
	return e.reasons[0].Reason
}

func fail(status int, text string) *apiError {
	return &apiError{status: status, reasons: []reason{{Reason: text}}}
}

func invalid(field, text string) *apiError {
	return &apiError{status: http.StatusBadRequest, reasons: []reason{{Reason: text, Field: field}}}
}

func notFound() *apiError { return fail(http.StatusNotFound, "Not found") }

// busy is the answer while another job of the instance is unfinished; linodego tries again.
func busy() *apiError { return fail(http.StatusBadRequest, "Linode busy.") }

// problems collects what is wrong with a request; the vendor reports all of it at once.
type problems []reason

func (p *problems) add(field, text string) { *p = append(*p, reason{Reason: text, Field: field}) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &apiError{status: http.StatusBadRequest, reasons: p}
}

// writeJSON answers with exactly "application/json": linodego does not decode an error body
// that carries a charset, and would then not tell a missing instance from a broken server.
func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"errors":[{"reason":"Internal server error"}]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone already
}

func writeError(w http.ResponseWriter, err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = fail(http.StatusInternalServerError, err.Error())
	}
	writeJSON(w, e.status, map[string]any{"errors": e.reasons})
}
