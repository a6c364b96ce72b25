//go:build linux

package rig

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/demo"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// SiteOptions are what a site is made of.
type SiteOptions struct {
	// Engine is the path of terraform or tofu.
	Engine string
	// Dir holds everything that the operator's commands write. It must exist.
	Dir string
	// Stack is the folder of the configuration; the reference topology's when empty.
	Stack string
	// Lab is how the lab is started; its agent is the one of Programs.
	Lab lab.Options
	// Env is added to the environment of the engine.
	Env []string
}

// Site is a stack, unchanged, in a lab of its own: the operator has a signing key and an
// initialised folder, and nothing of the cluster exists yet.
type Site struct {
	*lab.Lab
	Programs *Programs
	Work     *Workspace
	// KeyFile is the file of the operator's signing key.
	KeyFile string
	Key     *trust.SigningKey

	stack string
	// demoKey signs the sessions of the demo's application, on all nodes.
	demoKey []byte
}

// NewSite starts a lab and prepares the operator's folder. Close the site to remove the lab.
func NewSite(ctx context.Context, p *Programs, o SiteOptions) (*Site, error) {
	o.Lab.Atolld = p.Path("atolld")
	if o.Stack == "" {
		o.Stack = filepath.Join(p.Source, "examples", "stacks", "three-site")
	}
	l, err := lab.Start(ctx, o.Lab)
	if err != nil {
		return nil, err
	}
	s := &Site{Lab: l, Programs: p, KeyFile: filepath.Join(o.Dir, "signing-key.pem"), stack: o.Stack, demoKey: []byte(rand.Text())}
	if err := s.prepare(ctx, o); err != nil {
		_ = l.Close() // what went wrong before matters more
		return nil, err
	}
	return s, nil
}

func (s *Site) prepare(ctx context.Context, o SiteOptions) error {
	if out, err := s.Operator(ctx, s.Programs.Path("atoll"), "key", "new", "--out", s.KeyFile).CombinedOutput(); err != nil {
		return fmt.Errorf("atoll key new: %w\n%s", err, out)
	}
	pem, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return err
	}
	if s.Key, err = trust.ParseSigningKey(pem); err != nil {
		return err
	}
	s.Work, err = s.NewWorkspace(ctx, o.Engine, filepath.Join(o.Dir, "work"), o.Env...)
	return err
}

// NewWorkspace makes a folder with the stack, initialised, for an operator who has the site's credentials.
func (s *Site) NewWorkspace(ctx context.Context, engine, dir string, env ...string) (*Workspace, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	w, err := NewWorkspace(s.Programs, engine, dir, s.Operator)
	if err != nil {
		return nil, err
	}
	w.Env = append(s.stackEnvironment(), env...)
	if err := w.CopyStack(s.stack); err != nil {
		return nil, err
	}
	_, err = w.Run(ctx, "init")
	return w, err
}

// NoWebsite keeps the reference topology from making a load balancer. Sites have it in their environment: who wants one says so
// in SiteOptions.Env or Workspace.Env.
const NoWebsite = "TF_VAR_website=null"

// NoDatabase keeps the reference topology from making a database, as NoWebsite does for load balancers.
const NoDatabase = "TF_VAR_database=null"

// NoFiles keeps the reference topology from making pairs, as NoWebsite does for load balancers.
const NoFiles = "TF_VAR_files={}"

// stackEnvironment is what the stack expects of the operator's environment.
func (s *Site) stackEnvironment() []string {
	return []string{"ATOLL_SIGNING_KEY_FILE=" + s.KeyFile, NoWebsite, NoDatabase, NoFiles}
}

// Operator makes a command that runs on the operator's workstation.
func (s *Site) Operator(ctx context.Context, name string, args ...string) *exec.Cmd {
	return s.OperatorCommand(ctx, append([]string{name}, args...)...)
}

// Variable returns a variable of the operator's environment, "" when there is none of that name.
func (s *Site) Variable(name string) string {
	for _, v := range s.Environment() {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// Atoll runs the operator's command in the folder of the stack and returns its standard output.
func (s *Site) Atoll(ctx context.Context, args ...string) (string, error) {
	cmd := s.Operator(ctx, s.Programs.Path("atoll"), args...)
	cmd.Dir = s.Work.Dir
	cmd.Env = append(cmd.Environ(), s.stackEnvironment()...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("atoll %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return out.String(), nil
}

// Serve puts the demo's application on a node, which must be up, and starts it.
func (s *Site) Serve(ctx context.Context, node string) error {
	command := func(ctx context.Context, argv ...string) (*exec.Cmd, error) { return s.Command(ctx, node, argv...) }
	return demo.Install(ctx, command, s.Programs.Path(demo.Program), s.demoKey, s.Variable(lab.DatabasePasswordVariable))
}

// Agent returns a client that calls a machine's agent as the operator, over the public network. The cluster is the stack's.
func (s *Site) Agent(cluster, node string) (*api.Client, error) {
	machine, err := s.Node(node)
	if err != nil {
		return nil, err
	}
	return api.NewOperatorClient(s.Key, api.Target{
		Cluster: cluster, Node: node, Dial: s.Network().OperatorNamespace().Dial,
		Endpoints: []string{net.JoinHostPort(cmp.Or(machine.IPv4, machine.IPv6), strconv.Itoa(spec.DefaultPorts().API))},
	}), nil
}
