package provider_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/inproc"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// world is an emulated cloud whose machines run real agents in this process, and an operator with credentials for it.
type world struct {
	machines *inproc.Machines
	cloud    *linode.Server
	url      string
	// edge is the account whose hostnames lead to the machines.
	edge *edge
	key  *trust.SigningKey
	// env is the operator's environment, in place of the process's.
	env map[string]string
	// adjust changes what the provider is configured with.
	adjust func(*operator.Config)
	// warned is what the provider has warned of.
	warned warnings
}

// agentLog is where the agents of the named test log to, for whoever wants to know why it failed.
func agentLog(t *testing.T) *slog.Logger {
	t.Helper()
	if os.Getenv("ATOLL_TEST_AGENT_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

const token = "token-of-the-acceptance-tests"

// claimNetwork returns the second byte of two loopback networks that no other test uses, in this process or another, until
// the test ends.
func claimNetwork(t *testing.T) byte {
	t.Helper()
	var lc net.ListenConfig
	for i := range 80 {
		n := 70 + 2*((os.Getpid()+i)%80)
		claim, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.%d.255.254:7443", n))
		if err != nil {
			continue // taken
		}
		t.Cleanup(func() { _ = claim.Close() })
		return byte(n)
	}
	t.Fatal("no loopback network is free")
	return 0
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(resource.EnvTfAcc) == "" {
		t.Skip("ACCEPTANCE TEST DID NOT RUN: set TF_ACC (make testacc does)")
	}
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		key:      key,
		machines: &inproc.Machines{Dir: t.TempDir(), Network: claimNetwork(t), Log: agentLog(t)},
	}
	w.cloud = &linode.Server{Machines: w.machines, Token: token}
	server := httptest.NewServer(w.cloud)
	w.url = server.URL
	w.edge = newEdge(t)
	w.env = map[string]string{
		"ATOLL_SIGNING_KEY": string(pem), "LINODE_TOKEN": token, "LINODE_URL": server.URL,
	}
	maps.Copy(w.env, w.edge.env)
	t.Cleanup(func() {
		server.CloseClientConnections()
		w.cloud.Close()
		server.Close()
		if err := w.machines.Close(); err != nil {
			t.Errorf("stop the machines: %v", err)
		}
	})
	return w
}

// providers are the provider as Terraform starts it, with this world's environment and with short pauses.
func (w *world) providers() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"atoll": w.warned.watched(providerserver.NewProtocol6WithError(provider.New("test",
			provider.WithEnvironment(func(name string) string { return w.env[name] }),
			provider.WithConfig(func(c *operator.Config) {
				c.Linode.Poll, c.Linode.Pause, c.Linode.Timeout = 50*time.Millisecond, 50*time.Millisecond, 2*time.Second
				c.Patience = operator.Patience{
					Dial: 3 * time.Second, Poll: 100 * time.Millisecond, Farewell: 3 * time.Second, Resume: 4 * time.Second, Fitness: time.Second,
				}
				if w.adjust != nil {
					w.adjust(c)
				}
			}))())),
	}
}

// test runs steps against the world and demands that nothing is left afterwards.
func (w *world) test(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	w.runSteps(t, steps...)
	if left := w.instances(t); len(left) != 0 {
		t.Errorf("instances are left: %v", left)
	}
}

// runSteps is test for a world in which something may be left.
func (w *world) runSteps(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: w.providers(), Steps: steps})
}

// instances returns the labels of the account's instances by id.
func (w *world) instances(t *testing.T) map[int]string {
	t.Helper()
	var list struct {
		Data []struct {
			ID    int    `json:"id"`
			Label string `json:"label"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.call(t, http.MethodGet, "/v4/linode/instances"), &list); err != nil {
		t.Fatal(err)
	}
	out := map[int]string{}
	for _, i := range list.Data {
		out[i.ID] = i.Label
	}
	return out
}

// call calls the cloud's API as somebody else with the account's token would.
func (w *world) call(t *testing.T, method, path string) []byte {
	t.Helper()
	return w.send(t, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
}

// post makes something and returns its id.
func (w *world) post(t *testing.T, path, body string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	var made struct {
		ID int `json:"id"`
	}
	if err := json.Unmarshal(w.send(t, r), &made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (w *world) send(t *testing.T, r *http.Request) []byte {
	t.Helper()
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	w.cloud.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", r.Method, r.URL.Path, answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

const clusterConfig = `
resource "atoll_cluster" "web" {
  name      = "web"
  mesh_cidr = "10.66.0.0/16"
}
`

// linodes is a configuration of the cluster with Linodes of the given names and a link for every pair. Each resource has
// its own block, since plugin-testing cannot import instances of for_each.
func linodes(names ...string) string {
	var b strings.Builder
	b.WriteString(clusterConfig)
	for i, name := range names {
		fmt.Fprintf(&b, `
resource "atoll_node" %[1]q {
  cluster  = atoll_cluster.web
  name     = %[1]q
  linode   = { region = "ap-south", type = "g6-nanode-1", image = "private/1" }
  timeouts = { create = "60s" }
}
`, name)
		for _, other := range names[:i] {
			fmt.Fprintf(&b, `
resource "atoll_mesh_link" "%[1]s-%[2]s" {
  from     = atoll_node.%[1]s
  to       = atoll_node.%[2]s
  timeouts = { create = "60s" }
}
`, other, name)
		}
	}
	return b.String()
}

// linodeNode is a configuration of the cluster with one Linode, to which more arguments are added.
func linodeNode(name, more string) string {
	more += patience(more)
	return clusterConfig + fmt.Sprintf(`
resource "atoll_node" %[1]q {
  cluster = atoll_cluster.web
  name    = %[1]q
  linode  = { region = "ap-south", type = "g6-nanode-1", image = "private/1" }
  %[2]s
}
`, name, more)
}

// patience is a timeout that fails before the test itself does, unless arguments hold another.
func patience(arguments string) string {
	if strings.Contains(arguments, "timeouts") {
		return ""
	}
	return "\n  timeouts = { create = \"60s\" }"
}

// says matches a message without regard to how Terraform wraps its lines.
func says(words ...string) *regexp.Regexp {
	gap := `[\s│]+`
	parts := make([]string, len(words))
	for i, w := range words {
		fields := strings.Fields(w)
		for j, f := range fields {
			fields[j] = regexp.QuoteMeta(f)
		}
		parts[i] = strings.Join(fields, gap)
	}
	return regexp.MustCompile(`(?s)` + strings.Join(parts, `.*`))
}
