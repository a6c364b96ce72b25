// Package dsn writes the texts by which applications are told where a MySQL database is: through the router on their own node,
// or with all members named where there is no router. It is pure.
package dsn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Target is a database as an application reaches it.
type Target struct {
	// Hosts are addresses with ports: the router's (Local), or those of the members.
	Hosts []string
	// Schema is the database to use, "" for none.
	Schema string
	// User and Password are the application's account. Whatever a text with the password is put into keeps it.
	User, Password string
}

// Local returns the address of the router on the application's own node. It is not "localhost": clients in C, and so PHP, take
// that for a Unix socket.
func Local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ErrSeveralHosts says that a form has room for one address only: its clients cannot go to another one by themselves.
var ErrSeveralHosts = errors.New("only JDBC clients can be given several hosts: use the router's address")

// Go returns the data source name of Go's driver (github.com/go-sql-driver/mysql).
//
// With rejectReadOnly a connection is thrown away that has led to a member which is not the primary any more, and the pool makes
// a new one; "tls=preferred" encrypts where the server can, without which the server must be asked for its key to send a
// password. Times are those of the server as time.Time.
func (t Target) Go() (string, error) {
	host, _, err := t.one()
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(t.User, ":@/") {
		// The driver takes the user as it is, up to the first colon.
		return "", fmt.Errorf("a Go data source name has no place for the user %q", t.User)
	}
	account := t.User
	if t.Password != "" {
		account += ":" + t.Password
	}
	return fmt.Sprintf("%s@tcp(%s)/%s?parseTime=true&rejectReadOnly=true&timeout=5s&tls=preferred", account, host, url.PathEscape(t.Schema)), nil
}

// PDO returns the data source name of PHP's PDO, which takes user and password apart from it.
func (t Target) PDO() (string, error) {
	_, host, err := t.one()
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(t.Schema, "; ") {
		return "", fmt.Errorf("a PDO data source name has no place for the schema %q", t.Schema)
	}
	text := fmt.Sprintf("mysql:host=%s;port=%s", host.name, host.port)
	if t.Schema != "" {
		text += ";dbname=" + t.Schema
	}
	return text + ";charset=utf8mb4", nil
}

// URL returns a URL (mysql://user:password@host:port/schema), which most frameworks take.
func (t Target) URL() (string, error) {
	host, _, err := t.one()
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "mysql", Host: host, Path: "/" + t.Schema}
	switch {
	case t.Password != "":
		u.User = url.UserPassword(t.User, t.Password)
	case t.User != "":
		u.User = url.User(t.User)
	}
	return u.String(), nil
}

// jdbcOptions make a pool outlive a failover: a connection that has died is made anew, at the next host where several are given,
// and is not taken for read-only there. Connector/J ends a transaction that was under way with an error. Times are in
// milliseconds.
const jdbcOptions = "failOverReadOnly=false&connectTimeout=30000&socketTimeout=30000&autoReconnect=true&autoReconnectForPools=true"

// JDBC returns the URL of MySQL Connector/J. With several hosts the client takes the first one that answers: it cannot tell which
// one is the primary, which is why a router is better.
func (t Target) JDBC() (string, error) {
	if len(t.Hosts) == 0 {
		return "", errNoHost
	}
	for _, host := range t.Hosts {
		if _, err := split(host); err != nil {
			return "", err
		}
	}
	text := fmt.Sprintf("jdbc:mysql://%s/%s?%s", strings.Join(t.Hosts, ","), url.PathEscape(t.Schema), jdbcOptions)
	if t.User != "" {
		text += "&user=" + url.QueryEscape(t.User)
	}
	if t.Password != "" {
		text += "&password=" + url.QueryEscape(t.Password)
	}
	return text, nil
}

var errNoHost = errors.New("there is no host to connect to")

// address is a host and its port.
type address struct{ name, port string }

// one returns the only host, as it was given and taken apart.
func (t Target) one() (string, address, error) {
	switch len(t.Hosts) {
	case 0:
		return "", address{}, errNoHost
	case 1:
		parts, err := split(t.Hosts[0])
		return t.Hosts[0], parts, err
	default:
		return "", address{}, ErrSeveralHosts
	}
}

func split(host string) (address, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return address{}, fmt.Errorf("%q is no address with a port, such as 127.0.0.1:6446: %w", host, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || name == "" || strings.ContainsAny(name, "/?#@,;()% ") {
		return address{}, fmt.Errorf("%q is no address with a port, such as 127.0.0.1:6446", host)
	}
	return address{name, port}, nil
}
