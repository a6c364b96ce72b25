package haproxy

// SocketPath is where a database's HAProxy takes commands.
func SocketPath(database string) string { return socketPath(database) }
