package spec

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// DatabaseEngine names the software of a replicated database.
type DatabaseEngine string

// The database engines.
const (
	// DatabaseMySQL is MySQL Server with Group Replication (MySQL InnoDB Cluster), single-primary.
	DatabaseMySQL DatabaseEngine = "mysql"
)

// DatabaseEngines lists every database engine.
func DatabaseEngines() []DatabaseEngine { return []DatabaseEngine{DatabaseMySQL} }

// RouterDriver names the program by which applications reach a database on their own node.
type RouterDriver string

// The router drivers.
const (
	// RouterMySQL is MySQL Router.
	RouterMySQL RouterDriver = "mysqlrouter"
	// RouterHAProxy is HAProxy, which asks the members' agents who takes writes.
	RouterHAProxy RouterDriver = "haproxy"
)

// RouterDrivers lists every router driver.
func RouterDrivers() []RouterDriver { return []RouterDriver{RouterMySQL, RouterHAProxy} }

// RolePort is where members' agents say who takes writes, at the mesh address (TCP): for routers that do not ask the servers.
const RolePort = 7481

// Database is one replicated database. Its name is the object's name.
type Database struct {
	Engine DatabaseEngine `json:"engine"`
	// Version is the release series that every member must run, such as "9.7"; empty for whatever its node has.
	Version string `json:"version,omitempty"`
	// Group identifies the group of members to the engine: a UUID that is never used again.
	Group string `json:"group"`
	// Votes is how many members vote: an odd number, so that no even split can stop both halves. A full outage ends by itself
	// only when that many members have been heard.
	Votes int `json:"votes"`
	// Bootstrap is the one permission to make the group out of nothing.
	Bootstrap Bootstrap `json:"bootstrap"`
	// Port is the TCP port of every member, at its mesh address.
	Port int `json:"port"`
	// Settings are the engine's own, by name.
	Settings map[string]string `json:"settings,omitempty"`
	// Schemas are the databases, in MySQL's sense, that exist at least. What is taken off the list stays.
	Schemas []string `json:"schemas,omitempty"`
	// Users are the accounts of applications, by name.
	Users map[string]DatabaseUser `json:"users,omitempty"`
	// Router is what applications connect to on their own node.
	Router DatabaseRouter `json:"router"`
	// Key is the public half of the database's key, to which secrets in this object are sealed; members have the other half.
	Key string `json:"key"`
	// Accept is what the operator knows and accepts of where the members are.
	Accept Accepted `json:"accept,omitzero"`
}

// Accepted are risks that the operator has accepted.
type Accepted struct {
	// Providers and Sites are those that may have a majority of a database's votes, sorted by name: their failure stops writes.
	Providers []string `json:"providers,omitempty"`
	Sites     []string `json:"sites,omitempty"`
}

// Bootstrap is the permission for one member to make a group out of nothing, which it uses once.
type Bootstrap struct {
	// Node is the member. Writes begin there.
	Node string `json:"node"`
	// Epoch counts the permissions, from 1. A member that has used an epoch never uses it again, whatever becomes of its data.
	Epoch int `json:"epoch"`
}

// DatabaseUser is an account of an application.
type DatabaseUser struct {
	// Password is sealed to the database's key.
	Password string `json:"password"`
	// PasswordVersion changes when the password does: two sealed texts of one password differ.
	PasswordVersion int64 `json:"password_version"`
	// Schemas are what the user may read, write and change the structure of. Empty is all that the database's object names.
	Schemas []string `json:"schemas,omitempty"`
}

// DatabaseRouter is what applications connect to on their own node: a local port for writes, another for reads.
type DatabaseRouter struct {
	Driver RouterDriver `json:"driver"`
	// WritePort leads to the primary, ReadPort to any member that is up to date. Both listen at loopback addresses only.
	WritePort int `json:"write_port"`
	ReadPort  int `json:"read_port"`
}

// Kind returns KindDatabase.
func (Database) Kind() Kind { return KindDatabase }

var (
	groupPattern   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	versionPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)
	// schemaPattern is the part of MySQL's identifiers that needs no quotes anywhere, and userPattern fits its 32 characters.
	schemaPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)
	userPattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,31}$`)
)

// maxVotes is how many members Group Replication can have.
const maxVotes = 9

// Validate implements Body.
func (d Database) Validate() Problems {
	var ps Problems
	if !slices.Contains(DatabaseEngines(), d.Engine) {
		ps.add("engine", "update the agent", "%q is unknown", d.Engine)
	}
	if d.Version != "" && !versionPattern.MatchString(d.Version) {
		ps.add("version", `write a release series such as "9.7"`, "%q is none", d.Version)
	}
	if !groupPattern.MatchString(d.Group) {
		ps.add("group", "", "%q is not a UUID in lower case", d.Group)
	}
	ps = append(ps, ValidateVotes("votes", d.Votes)...)
	ps = append(ps, ValidateName("bootstrap.node", d.Bootstrap.Node)...)
	if d.Bootstrap.Epoch < 1 {
		ps.add("bootstrap.epoch", "epochs count from 1", "is %d", d.Bootstrap.Epoch)
	}
	ps = append(ps, validatePort("port", d.Port)...)
	ps = append(ps, d.Router.validate(d.Port).Under("router")...)
	ps = append(ps, validateSchemas(d.Schemas)...)
	for _, name := range slices.Sorted(maps.Keys(d.Users)) {
		user := d.Users[name]
		ps = append(ps, ValidateDatabaseUser("users."+name, name)...)
		if user.Password == "" {
			ps.add("users."+name+".password", "", "is missing")
		}
		for _, schema := range user.Schemas {
			if !slices.Contains(d.Schemas, schema) {
				ps.add("users."+name+".schemas", "add it to schemas", "%q is none of the database's schemas", schema)
			}
		}
	}
	if d.Key == "" {
		ps.add("key", "", "is missing")
	}
	for _, p := range d.Accept.Providers {
		ps = append(ps, validateDomain("accept.providers", p)...)
	}
	for _, site := range d.Accept.Sites {
		ps = append(ps, validateDomain("accept.sites", site)...)
	}
	if d.Engine == DatabaseMySQL {
		ps = append(ps, ValidateMySQLSettings("settings", d.Settings)...)
	}
	return ps
}

// ValidateVotes reports what keeps n from being the number of a database's voting members.
func ValidateVotes(field string, n int) Problems {
	var ps Problems
	switch {
	case n == 2:
		ps.add(field, "add a third member, on a small machine of another provider", "two members cannot tell a dead peer from a cut line: the loss of either stops all writes, which is worse than one member alone")
	case n < 3 || n > maxVotes:
		ps.add(field, "choose 3, 5, 7 or 9", "is %d", n)
	case n%2 == 0:
		ps.add(field, "choose an odd number", "%d members survive no more losses than %d do, and an even split stops both halves", n, n-1)
	}
	return ps
}

// ValidateDatabaseUser reports what keeps name from being the name of an application's account.
func ValidateDatabaseUser(field, name string) Problems {
	var ps Problems
	switch {
	case !userPattern.MatchString(name):
		ps.add(field, "use at most 32 letters, digits and underscores, beginning with a letter", "%q cannot be the name of a user", name)
	case slices.Contains([]string{"root", "mysql"}, strings.ToLower(name)) || strings.HasPrefix(strings.ToLower(name), "atoll_"):
		ps.add(field, "choose another", "%q is not for applications", name)
	}
	return ps
}

// validateSchemas reports what is wrong with the names of schemas. Names that differ in case alone are two schemas on Linux, and one
// to many programs.
func validateSchemas(names []string) Problems {
	var ps Problems
	seen := map[string]string{}
	for _, name := range names {
		ps = append(ps, validateSchema("schemas", name)...)
		if first, twice := seen[strings.ToLower(name)]; twice {
			ps.add("schemas", "choose other names", "%q and %q are the same to many programs", first, name)
		}
		seen[strings.ToLower(name)] = name
	}
	return ps
}

func validateSchema(field, name string) Problems {
	var ps Problems
	switch {
	case !schemaPattern.MatchString(name):
		ps.add(field, "use at most 63 letters, digits and underscores, beginning with a letter", "%q cannot be the name of a schema", name)
	case slices.Contains([]string{"mysql", "sys", "performance_schema", "information_schema", "mysql_innodb_cluster_metadata"}, strings.ToLower(name)):
		ps.add(field, "choose another", "%q is the server's own", name)
	}
	return ps
}

func validateDomain(field, name string) Problems {
	var ps Problems
	if strings.TrimSpace(name) == "" {
		ps.add(field, "write the name of a provider or site", "%q is none", name)
	}
	return ps
}

func (r DatabaseRouter) validate(database int) Problems {
	var ps Problems
	if !slices.Contains(RouterDrivers(), r.Driver) {
		ps.add("driver", "update the agent", "%q is unknown", r.Driver)
	}
	ps = append(ps, validatePort("write_port", r.WritePort)...)
	ps = append(ps, validatePort("read_port", r.ReadPort)...)
	if r.WritePort == r.ReadPort {
		ps.add("read_port", "choose another", "%d is also write_port", r.ReadPort)
	}
	if r.WritePort == database {
		ps.add("write_port", "choose another", "%d is the port of the members themselves", database)
	}
	if r.ReadPort == database {
		ps.add("read_port", "choose another", "%d is the port of the members themselves", database)
	}
	return ps
}
