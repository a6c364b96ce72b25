package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// standing is what a node's health endpoint says of a load balancer.
type standing string

// What that may be.
const (
	inService     standing = "200"
	keptInService standing = "200, kept in service"
	outOfService  standing = "503"
	noAnswer      standing = "nothing"
)

// awaitLook waits until the health endpoint says what is wanted. Who is to be kept in service must never have been out of it.
func (b *labBench) awaitLook(ctx context.Context, d *diary, hostname string, want standing) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	for {
		got, parts := b.ask(ctx, healthNode, hostname)
		d.hear(got, parts)
		if got == want {
			return nil
		}
		if want == keptInService && got == outOfService {
			return fmt.Errorf("it was out of service before it was kept in it: %v", parts)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it says %s and not %s: %v: %w", got, want, parts, ctx.Err())
		case <-time.After(healthEvery):
		}
	}
}

// stays demands that a node that is kept in service is for a while.
func (b *labBench) stays(ctx context.Context, hostname string, want standing) error {
	if want != keptInService {
		return nil
	}
	for until := time.Now().Add(healthKept); time.Now().Before(until); {
		if got, parts := b.ask(ctx, healthNode, hostname); got != want && got != noAnswer {
			return fmt.Errorf("it says %s, and was kept in service: %v", got, parts)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * healthEvery):
		}
	}
	return nil
}

// look is ask without the parts.
func (b *labBench) look(ctx context.Context, node, hostname string) standing {
	got, _ := b.ask(ctx, node, hostname)
	return got
}

// ask asks a node's health endpoint about a load balancer, from the operator's network, and returns what it says of each part as well.
func (b *labBench) ask(ctx context.Context, node, hostname string) (standing, map[string]string) {
	machine, err := b.Node(node)
	if err != nil {
		return noAnswer, nil
	}
	at := net.JoinHostPort(machine.IPv4, strconv.Itoa(spec.DefaultPorts().Health))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+api.HealthPath+"/"+hostname, http.NoBody)
	if err != nil {
		return noAnswer, nil
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: b.Network().OperatorNamespace().Dial}}
	resp, err := client.Do(req)
	if err != nil {
		return noAnswer, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var h api.Health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return noAnswer, nil
	}
	if resp.StatusCode != http.StatusOK {
		return outOfService, h.Parts
	}
	for _, says := range h.Parts {
		if strings.HasPrefix(says, "kept in service") {
			return keptInService, h.Parts
		}
	}
	return inService, h.Parts
}
