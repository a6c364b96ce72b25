// Package trust decides who is believed. It holds the operator's signing key, the tickets that let a named node join,
// the proofs by which a node shows that it did, and the TLS configurations that pin connections to those proofs.
//
// The chain is signing key -> ticket -> claim -> identity key -> TLS connection. Every step of it travels in DSSE
// envelopes, so anybody who knows the signing key's public half can check it offline, whoever carried it.
package trust
