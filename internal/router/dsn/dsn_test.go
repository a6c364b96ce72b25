package dsn_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/atollhq/terraform-provider-atoll/internal/router/dsn"
)

// forms are the texts of one target; an error is its message.
type forms struct{ goName, pdo, url, jdbc string }

func render(t dsn.Target) forms {
	text := func(text string, err error) string {
		if err != nil {
			return "error: " + err.Error()
		}
		return text
	}
	return forms{text(t.Go()), text(t.PDO()), text(t.URL()), text(t.JDBC())}
}

func TestTarget(t *testing.T) {
	const options = "failOverReadOnly=false&connectTimeout=30000&socketTimeout=30000&autoReconnect=true&autoReconnectForPools=true"
	tests := []struct {
		name   string
		target dsn.Target
		want   forms
	}{
		{"through the router", dsn.Target{Hosts: []string{dsn.Local(6446)}, Schema: "shop", User: "web", Password: "s3cret"}, forms{
			"web:s3cret@tcp(127.0.0.1:6446)/shop?parseTime=true&rejectReadOnly=true&timeout=5s&tls=preferred",
			"mysql:host=127.0.0.1;port=6446;dbname=shop;charset=utf8mb4",
			"mysql://web:s3cret@127.0.0.1:6446/shop",
			"jdbc:mysql://127.0.0.1:6446/shop?" + options + "&user=web&password=s3cret",
		}},
		{"without account and schema", dsn.Target{Hosts: []string{dsn.Local(6447)}}, forms{
			"@tcp(127.0.0.1:6447)/?parseTime=true&rejectReadOnly=true&timeout=5s&tls=preferred",
			"mysql:host=127.0.0.1;port=6447;charset=utf8mb4",
			"mysql://127.0.0.1:6447/",
			"jdbc:mysql://127.0.0.1:6447/?" + options,
		}},
		{"all members", dsn.Target{Hosts: []string{"10.66.0.1:3306", "[fd00::2]:3306"}, Schema: "shop", User: "web"}, forms{
			"error: " + dsn.ErrSeveralHosts.Error(), "error: " + dsn.ErrSeveralHosts.Error(), "error: " + dsn.ErrSeveralHosts.Error(),
			"jdbc:mysql://10.66.0.1:3306,[fd00::2]:3306/shop?" + options + "&user=web",
		}},
		{"IPv6", dsn.Target{Hosts: []string{"[::1]:6446"}, Schema: "shop"}, forms{
			"@tcp([::1]:6446)/shop?parseTime=true&rejectReadOnly=true&timeout=5s&tls=preferred",
			"mysql:host=::1;port=6446;dbname=shop;charset=utf8mb4",
			"mysql://[::1]:6446/shop",
			"jdbc:mysql://[::1]:6446/shop?" + options,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := render(tt.target); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestSecretsArriveWhole gives the forms what needs quoting, and reads them as their clients do.
func TestSecretsArriveWhole(t *testing.T) {
	const password = `a:b@c/d?e&f=g#h%25 +"'\`
	target := dsn.Target{Hosts: []string{"127.0.0.1:6446"}, Schema: "shop", User: "web", Password: password}
	text, err := target.Go()
	if err != nil {
		t.Fatal(err)
	}
	c, err := mysql.ParseDSN(text)
	if err != nil || c.User != "web" || c.Passwd != password || c.Addr != "127.0.0.1:6446" || c.DBName != "shop" || !c.RejectReadOnly {
		t.Errorf("Go's driver reads %+v, %v", c, err)
	}
	if text, err = target.URL(); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := u.User.Password(); got != password || u.Host != "127.0.0.1:6446" {
		t.Errorf("a URL is read as %q at %q", got, u.Host)
	}
	if text, err = target.JDBC(); err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(text, "?")
	values, err := url.ParseQuery(query)
	if err != nil || values.Get("password") != password {
		t.Errorf("Connector/J reads %q, %v", values.Get("password"), err)
	}
	if text, err = target.PDO(); err != nil || strings.Contains(text, password) {
		t.Errorf("PDO's name has the password: %q, %v", text, err)
	}
}

func TestRefused(t *testing.T) {
	for name, target := range map[string]dsn.Target{
		"no host":          {},
		"no port":          {Hosts: []string{"127.0.0.1"}},
		"a port too high":  {Hosts: []string{"127.0.0.1:70000"}},
		"no name":          {Hosts: []string{":6446"}},
		"more than a name": {Hosts: []string{"db/other:6446"}},
	} {
		t.Run(name, func(t *testing.T) {
			for form, render := range map[string]func() (string, error){"Go": target.Go, "PDO": target.PDO, "URL": target.URL, "JDBC": target.JDBC} {
				if text, err := render(); err == nil {
					t.Errorf("%s: %q", form, text)
				}
			}
		})
	}
	if _, err := (dsn.Target{Hosts: []string{"a:1", "b:1"}}).Go(); !errors.Is(err, dsn.ErrSeveralHosts) {
		t.Errorf("got %v", err)
	}
	if text, err := (dsn.Target{Hosts: []string{"a:1"}, User: "a:b"}).Go(); err == nil {
		t.Errorf("a user with a colon: %q", text)
	}
	if text, err := (dsn.Target{Hosts: []string{"a:1"}, Schema: "a;b"}).PDO(); err == nil {
		t.Errorf("a schema with a semicolon: %q", text)
	}
}
