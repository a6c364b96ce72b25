// Package demo is the little application that the lab's nodes serve: it names the node that answers, and lets visitors log in. A
// visitor's session is in a signed cookie, so each node that knows the key goes on with it when another one has died.
package demo
