package database

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/crew"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// task is one operation on one database.
type task struct {
	described
	crew     *crew.Crew
	ref      spec.Ref
	memory   memory
	patience operator.Patience
}

// memory is kept beside the state.
type memory struct {
	// Generation is the newest of the database object that is known, 0 for none.
	Generation uint64 `json:"generation"`
	// Peers are the cluster's nodes, so that a database can be reached when the node where it began is gone.
	Peers map[string][]string `json:"peers,omitempty"`
}

const memoryKey = "database"

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func recall(ctx context.Context, p privateReader) (memory, diag.Diagnostics) {
	data, diags := p.GetKey(ctx, memoryKey)
	var m memory
	if len(data) > 0 {
		if err := json.Unmarshal(data, &m); err != nil {
			diags.AddWarning("Private state", fmt.Sprintf("What was known of the database's nodes cannot be read: %v.", err))
		}
	}
	return m, diags
}

func (m memory) save(ctx context.Context, p privateWriter) diag.Diagnostics {
	data, err := json.Marshal(m)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Private state", err.Error())}
	}
	return p.SetKey(ctx, memoryKey, data)
}

func newCrew(op *operator.Operator, d described, endpoints []string, known memory) (*crew.Crew, diag.Diagnostics) {
	c, diags := crew.New(op, d.cluster, operator.Peer{Name: d.primary.Name.ValueString(), Endpoints: endpoints, Identity: d.primary.Identity.ValueString()})
	for name, at := range known.Peers {
		c.Add(operator.Peer{Name: name, Endpoints: at})
	}
	return c, diags
}

// meet notes the nodes that another one has told of.
func (t *task) meet(seen operator.Known) {
	t.crew.AddKnown(seen)
	if peers := seen.Endpoints(""); len(peers) > 0 {
		t.memory.Peers = peers
	}
}

// make makes the database out of nothing. Save is called before any node hears of it.
func (t *task) make(ctx context.Context, m, config *Model, save func() diag.Diagnostics) diag.Diagnostics {
	seen, err := t.crew.Look(ctx, t.ref, 0)
	if err != nil {
		return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(path.Root("preferred_primary"), "No node answers", fmt.Sprintf(
			"Nobody can be told of database %q: %v.\n\nBring the node back and apply again; nothing was made.", t.name, err))}
	}
	if _, exists := seen.Databases[t.name]; exists {
		return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(path.Root("name"), "Database exists already", fmt.Sprintf(
			"Cluster %q has a database %q that this state does not know: another run made it, or this state lost it. Nothing was changed.\n\n"+
				"Take it over with `terraform import ADDRESS '%s@HOST:PORT'`, or give this one another name.", t.cluster, t.name, databaseID(t.cluster, t.name)))}
	}
	t.meet(seen.Known)
	body := t.body
	if body.Group, err = newGroup(); err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic(invalid, err.Error()+".")}
	}
	body, diags := t.seal(ctx, body, spec.Database{}, config)
	if diags.HasError() {
		return diags
	}
	t.memory.Generation = operator.Generation(seen.Generations[t.ref], t.crew.Op().Now())
	diags.Append(m.FromSpec(t.cluster, t.name, body)...)
	diags.Append(save()...)
	if diags.HasError() {
		return diags
	}
	diags.Append(t.push(ctx, body)...)
	return diags
}

// change gives the nodes what is new and waits until members have accepted it.
func (t *task) change(ctx context.Context, m, config *Model) diag.Diagnostics {
	seen, err := t.crew.Look(ctx, t.ref, t.memory.Generation)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("No node answers", fmt.Sprintf("Nobody can be told of the change of database %q: %v.\n\nBring a node back and apply again.", t.name, err))}
	}
	t.meet(seen.Known)
	if g := seen.Generations[t.ref]; t.memory.Generation != 0 && g > t.memory.Generation {
		return diag.Diagnostics{crew.OutdatedAt(path.Empty(), "database "+t.name, g, t.memory.Generation)}
	}
	have, alive := seen.Databases[t.name]
	body := t.body
	body.Group = m.Group.ValueString()
	if alive && have.Group == body.Group && have.Bootstrap.Epoch == body.Bootstrap.Epoch {
		// One permission is for one node: with another node of the same epoch, both could begin a group.
		body.Bootstrap.Node = have.Bootstrap.Node
	}
	body, diags := t.seal(ctx, body, have, config)
	if diags.HasError() {
		return diags
	}
	if diags.Append(m.FromSpec(t.cluster, t.name, body)...); diags.HasError() {
		return diags
	}
	if alive && sameBody(have, body) {
		return diags
	}
	t.memory.Generation = operator.Generation(max(t.memory.Generation, seen.Generations[t.ref]), t.crew.Op().Now())
	diags.Append(t.push(ctx, body)...)
	if diags.HasError() {
		return diags
	}
	diags.Append(t.await(ctx)...)
	return diags
}

// sameBody tells whether nodes would notice no difference.
func sameBody(a, b spec.Database) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// newGroup returns a random UUID (RFC 9562, version 4).
func newGroup() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a UUID: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// seal adds what is secret: passwords, which only members can read. One whose version is the same stays as it is, so that nothing
// changes for the members.
func (t *task) seal(ctx context.Context, body, have spec.Database, config *Model) (spec.Database, diag.Diagnostics) {
	var diags diag.Diagnostics
	key, err := trust.DatabaseKeyOf(t.crew.Key(), t.cluster, t.name, body.Group)
	if err != nil {
		diags.AddError(invalid, err.Error()+".")
		return body, diags
	}
	body.Key = key.Public().String()
	passwords, diags := config.passwords(ctx)
	users := map[string]spec.DatabaseUser{}
	for _, name := range slices.Sorted(maps.Keys(body.Users)) {
		u := body.Users[name]
		if old, there := have.Users[name]; there && have.Key == body.Key && old.PasswordVersion == u.PasswordVersion {
			u.Password = old.Password
		} else if u.Password, err = sealed(key, passwords[name]); err != nil {
			diags.AddAttributeError(path.Root("users").AtMapKey(name).AtName("password"), invalid, fmt.Sprintf("The password of user %q cannot be encrypted: %v.", name, err))
		}
		users[name] = u
	}
	body.Users = nil
	if len(users) > 0 {
		body.Users = users
	}
	diags.Append(problems(body.Validate())...)
	return body, diags
}

func sealed(key *trust.DatabaseKey, password string) (string, error) {
	if password == "" {
		return "", fmt.Errorf("it is not in the configuration")
	}
	return trust.Seal(key.Public(), password)
}

// passwords returns the users' passwords, which only a configuration has.
func (m *Model) passwords(ctx context.Context) (map[string]string, diag.Diagnostics) {
	var diags diag.Diagnostics
	out := map[string]string{}
	if !known(m.Users) {
		return out, diags
	}
	users := map[string]userModel{}
	diags = m.Users.ElementsAs(ctx, &users, false)
	for name, u := range users {
		out[name] = u.Password.ValueString()
	}
	return out, diags
}

func (t *task) push(ctx context.Context, body spec.Database) diag.Diagnostics {
	record, err := t.crew.Sign(t.name, t.memory.Generation, body)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic(invalid, err.Error()+".")}
	}
	took, diags := t.crew.Tell(ctx, "database "+t.name, record)
	if len(took) > 0 {
		t.crew.Op().Cluster(t.cluster).Pushed(t.ref, t.memory.Generation)
		tflog.Info(ctx, "nodes were told of the database", map[string]any{"database": t.name, "generation": t.memory.Generation, "nodes": took})
	}
	return diags
}

// view returns how the database is, nil when no node says.
func (t *task) view(ctx context.Context) *api.DatabaseView {
	status, err := t.crew.Status(ctx)
	if err != nil {
		return nil
	}
	return viewOf(status, t.name)
}

// overview is view for a refresh: the answer may be some seconds old.
func (t *task) overview(ctx context.Context) *api.DatabaseView {
	status, err := t.crew.Overview(ctx)
	if err != nil {
		return nil
	}
	return viewOf(status, t.name)
}

func viewOf(status api.ClusterStatus, name string) *api.DatabaseView {
	if v, ok := status.Databases[name]; ok {
		return &v
	}
	return nil
}

// remove tells the nodes that the database is no more, its members included that no resource has removed.
func (t *task) remove(ctx context.Context) diag.Diagnostics {
	seen, err := t.crew.Look(ctx, t.ref, t.memory.Generation)
	if err != nil {
		// With all nodes gone the database is gone too.
		return diag.Diagnostics{diag.NewWarningDiagnostic("Nodes do not know", fmt.Sprintf(
			"Database %q is removed from the state, but nobody could be told: %v.\n\nNodes that come back still have it. Import it then and remove it again; nodes that are gone for good need nothing.", t.name, err))}
	}
	t.meet(seen.Known)
	var diags diag.Diagnostics
	generation := operator.Generation(max(t.memory.Generation, seen.Generations[t.ref]), t.crew.Op().Now())
	refs := []spec.Ref{t.ref}
	for name, m := range seen.DatabaseMembers {
		if m.Database == t.name {
			refs = append(refs, spec.Ref{Kind: spec.KindMember, Name: name})
		}
	}
	if _, decided := seen.Recoveries[t.name]; decided {
		refs = append(refs, spec.Ref{Kind: spec.KindRecovery, Name: t.name})
	}
	records := make([]store.Record, 0, len(refs))
	for _, ref := range refs {
		record, err := t.crew.Bury(ref, max(generation, seen.Generations[ref]+1))
		if err != nil {
			diags.AddError(invalid, err.Error()+".")
			return diags
		}
		records = append(records, record)
	}
	_, more := t.crew.Tell(ctx, "the removal of database "+t.name, records...)
	diags.Append(more...)
	t.crew.Op().Cluster(t.cluster).Pushed(t.ref, 0)
	return diags
}
