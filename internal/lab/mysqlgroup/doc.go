// Package mysqlgroup makes a group of MySQL servers by SQL alone, on machines that have nothing of Atoll: what routers are tried
// on, and what Atoll's own databases are compared with.
package mysqlgroup
