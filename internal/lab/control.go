//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// Description is a running lab as its clients see it.
type Description struct {
	Name        string               `json:"name"`
	PID         int                  `json:"pid"`
	Started     time.Time            `json:"started"`
	LinodeURL   string               `json:"linode_url"`
	Operator    string               `json:"operator_namespace"`
	SSHConfig   string               `json:"ssh_config"`
	Router      string               `json:"router_namespace"`
	ExecConfig  string               `json:"exec_config"` // for ssh from the router into virtual machines
	Nodes       []NodeState          `json:"nodes"`
	Edge        EdgeState            `json:"edge"`
	Impairments []network.Impairment `json:"impairments"`
}

// Describe says what the lab is made of now.
func (l *Lab) Describe() Description {
	d := Description{
		Name: l.options.Name, PID: l.record.data.PID, Started: l.started, LinodeURL: LinodeURL,
		Operator: string(l.net.OperatorNamespace()), SSHConfig: l.operator.sshConfig(),
		Router: string(l.net.Router()), ExecConfig: l.entry.config(),
		Nodes: l.Nodes(), Edge: l.front.describe(), Impairments: l.net.Impairments(),
	}
	if d.Impairments == nil {
		d.Impairments = []network.Impairment{}
	}
	return d
}

// impairRequest is the body of a request to impair a path.
type impairRequest struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Percent int    `json:"percent"`
	OneWay  bool   `json:"one_way"`
}

// healRequest is the body of a request to heal a path; without ends it means all paths.
type healRequest struct {
	A string `json:"a"`
	B string `json:"b"`
}

// seedRequest is the body of a request to put a seed disk into a machine; without a path it means to take it out.
type seedRequest struct {
	Path string `json:"path"`
}

// controlError is the body of an answer that is not good.
type controlError struct {
	Message string `json:"message"`
}

// serveControl answers clients of this machine. The socket is in a folder that only root enters.
func (l *Lab) serveControl(ctx context.Context) error {
	// A process that was killed leaves its socket behind. The lab's lock says that nobody listens there any more.
	if err := os.Remove(l.files.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an earlier lab's socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", l.files.socket())
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	power := map[string]func(context.Context, string) error{
		"kill": l.Kill, "power-on": l.PowerOn, "shutdown": l.Shutdown, "freeze": l.Freeze, "thaw": l.Thaw, "wait-ssh": l.WaitSSH,
		"unplug": func(_ context.Context, name string) error { return l.PullCable(name) },
		"plug":   func(_ context.Context, name string) error { return l.PlugCable(name) },
	}
	mux := http.NewServeMux()
	//nolint:contextcheck // the edge's checks outlive the request
	mux.HandleFunc("GET /v1/lab", func(w http.ResponseWriter, _ *http.Request) { l.answer(w, l.Describe(), nil) })
	mux.HandleFunc("GET /v1/environment", func(w http.ResponseWriter, _ *http.Request) { l.answer(w, l.Environment(), nil) })
	mux.HandleFunc("POST /v1/nodes/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		do, ok := power[r.PathValue("action")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		l.answer(w, struct{}{}, do(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/nodes", func(w http.ResponseWriter, r *http.Request) {
		var m Machine
		err := json.NewDecoder(r.Body).Decode(&m)
		if err == nil {
			err = l.Add(r.Context(), m)
		}
		l.answer(w, struct{}{}, err)
	})
	mux.HandleFunc("DELETE /v1/nodes/{name}", func(w http.ResponseWriter, r *http.Request) {
		l.answer(w, struct{}{}, l.Discard(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("PUT /v1/nodes/{name}/seed", func(w http.ResponseWriter, r *http.Request) {
		var q seedRequest
		err := json.NewDecoder(r.Body).Decode(&q)
		if err == nil {
			err = l.Insert(r.Context(), r.PathValue("name"), q.Path)
		}
		l.answer(w, struct{}{}, err)
	})
	mux.HandleFunc("POST /v1/impair", func(w http.ResponseWriter, r *http.Request) {
		var q impairRequest
		err := json.NewDecoder(r.Body).Decode(&q)
		if err == nil {
			err = l.net.Impair(r.Context(), q.From, q.To, q.Percent, q.OneWay)
		}
		l.answer(w, l.net.Impairments(), err)
	})
	mux.HandleFunc("POST /v1/heal", func(w http.ResponseWriter, r *http.Request) {
		var q healRequest
		err := json.NewDecoder(r.Body).Decode(&q)
		switch {
		case err != nil:
		case q.A == "" && q.B == "":
			err = l.HealAll(r.Context())
		default:
			err = l.Heal(r.Context(), q.A, q.B)
		}
		l.answer(w, l.net.Impairments(), err)
	})
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) {
		l.answer(w, struct{}{}, nil)
		life := context.WithoutCancel(r.Context())
		go func() {
			if err := l.Remove(life); err != nil {
				l.options.Log.Error("the lab was not removed completely", "error", err)
			}
		}()
	})
	l.serve(listener, mux)
	return nil
}

// answer sends a result or an error.
func (l *Lab) answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusUnprocessableEntity
		switch {
		case errors.Is(err, ErrNoMachine):
			status = http.StatusNotFound
		case errors.Is(err, nodes.ErrOff), errors.Is(err, ErrNotVirtual):
			status = http.StatusConflict
		}
		w.WriteHeader(status)
		v = controlError{Message: err.Error()}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		l.options.Log.Warn("could not answer a client", "error", err)
	}
}
