package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
	"github.com/atollhq/terraform-provider-atoll/internal/topology/analysis"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// analyzeOptions are the flags of atoll analyze.
type analyzeOptions struct {
	nodes   nodeFlags
	json    bool
	timeout time.Duration
}

func analyzeCommand(env Environment) *cobra.Command {
	var o analyzeOptions
	cmd := &cobra.Command{
		Use:   "analyze [node/NAME | site/NAME | provider/NAME]...",
		Short: "Show what cannot work, what hangs on one thing, and what stops when nodes, sites or providers are lost",
		Long: `Shows what of the cluster cannot work and what hangs on one thing, as its signed objects say: connections that a firewall which is
written down keeps nodes from making, and what stops when a node, a site, a provider, a link of the mesh or the edge vendor is lost.

With arguments it shows what stops when all of these are lost at once, for example "atoll analyze site/hong-kong node/sg1".

It is about what is described, and not about how it is: see "atoll status" for that. The resource atoll_failure_analysis says the same
when a plan is made, and what it accepts is not known here. Of load balancers only those are known that nodes have a part in.

The exit code is 0, and 1 when something cannot work as it stands, or stops when what is named is lost.`,
		Example: "  atoll analyze\n  atoll analyze provider/linode\n  atoll analyze --json | jq .losses",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := trust.SigningKeyFromEnvironment(env.Getenv)
			if err != nil {
				return err
			}
			targets, err := o.nodes.targets(env)
			if err != nil {
				return err
			}
			in, unanswered, err := askObjects(cmd.Context(), env, key, targets, o.timeout)
			if err != nil {
				return err
			}
			var a answerText
			if len(args) > 0 {
				a, err = whatIf(in, args, unanswered)
			} else {
				a = analyzed(in, unanswered)
			}
			if err != nil {
				return err
			}
			if err := o.print(env, a); err != nil {
				return err
			}
			if a.bad() {
				return errDegraded
			}
			return nil
		},
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	return cmd
}

// answerText is what the command prints.
type answerText interface {
	text() string
	// bad tells whether the exit code is 1.
	bad() bool
}

func (o *analyzeOptions) print(env Environment, a answerText) error {
	if o.json {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(a)
	}
	_, err := fmt.Fprint(env.Stdout, a.text())
	return err
}

// analysisReport is everything that hangs on one thing.
type analysisReport struct {
	Cluster  string            `json:"cluster"`
	Findings []analysisFinding `json:"findings"`
	// Losses is what each loss stops that stops anything.
	Losses map[string][]spec.Ref `json:"losses"`
	// Unanswered says for each node that did not answer from here why.
	Unanswered map[string]string `json:"unanswered,omitempty"`
	order      []string
}

type analysisFinding struct {
	Severity analysis.Severity `json:"severity"`
	Problem  analysis.Problem  `json:"problem"`
	Losses   []string          `json:"losses"`
	Affected []spec.Ref        `json:"affected"`
	Nodes    []string          `json:"nodes"`
	Message  string            `json:"message"`
	Remedy   string            `json:"remedy"`
	Accepted bool              `json:"accepted"`
	cause    string
}

func analyzed(in topology.Input, unanswered map[string]string) analysisReport {
	r := analysis.Analyze(analysis.Input{Input: in})
	out := analysisReport{Cluster: in.ClusterName, Findings: []analysisFinding{}, Losses: map[string][]spec.Ref{}, Unanswered: unanswered}
	for _, f := range r.Findings {
		one := analysisFinding{
			Severity: f.Severity, Problem: f.Problem, Losses: []string{}, Affected: f.Affected, Nodes: f.Nodes,
			Message: f.Message, Remedy: f.Remedy, Accepted: f.Accepted, cause: f.Cause(),
		}
		for _, l := range f.Losses {
			one.Losses = append(one.Losses, l.String())
		}
		out.Findings = append(out.Findings, one)
	}
	for _, i := range r.Impacts {
		out.Losses[i.Loss.String()] = i.Stops
		out.order = append(out.order, i.Loss.String())
	}
	return out
}

func (r analysisReport) bad() bool {
	return slices.ContainsFunc(r.Findings, func(f analysisFinding) bool { return f.Severity == analysis.Fault && !f.Accepted })
}

func (r analysisReport) text() string {
	var b strings.Builder
	var faults, risks, accepted []string
	for _, f := range r.Findings {
		line := f.Message
		if f.cause != "" {
			line = "without " + f.cause + ": " + line
		}
		switch {
		case f.Accepted:
			accepted = append(accepted, line)
		case f.Severity == analysis.Fault:
			faults = append(faults, line+"\n"+f.Remedy)
		default:
			risks = append(risks, line+"\n"+f.Remedy)
		}
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "nothing of cluster %s hangs on one thing\n\n", r.Cluster)
	}
	list(&b, "wrong", faults)
	list(&b, "hangs on one thing", risks)
	list(&b, "accepted", accepted)
	if len(r.order) > 0 {
		t := newTable("Without", "Stops")
		for _, loss := range r.order {
			t.AppendRow(table.Row{loss, words(refNames(r.Losses[loss]))})
		}
		render(&b, t)
	}
	silent(&b, r.Unanswered)
	return b.String()
}

func refNames(refs []spec.Ref) []string {
	out := make([]string, len(refs))
	for i, ref := range refs {
		out[i] = ref.String()
		if ref.Kind == spec.KindCluster {
			out[i] += " (its mesh)"
		}
	}
	return out
}

func silent(b *strings.Builder, unanswered map[string]string) {
	var lines []string
	for _, node := range slices.Sorted(maps.Keys(unanswered)) {
		lines = append(lines, fmt.Sprintf("%s: %s", node, unanswered[node]))
	}
	list(b, "did not answer from here; this is what the others know", lines)
}

// lossReport is what stops when several things are lost at once.
type lossReport struct {
	Cluster string     `json:"cluster"`
	Lost    []string   `json:"lost"`
	Nodes   []string   `json:"nodes"`
	Stops   []spec.Ref `json:"stops"`
	// Unanswered says for each node that did not answer from here why.
	Unanswered map[string]string `json:"unanswered,omitempty"`
}

// whatIf loses what is named. Losses are nodes by their names, or node/, site/ and provider/ with a name behind.
func whatIf(in topology.Input, losses []string, unanswered map[string]string) (lossReport, error) {
	out := lossReport{Cluster: in.ClusterName, Lost: losses, Nodes: []string{}, Stops: []spec.Ref{}, Unanswered: unanswered}
	for _, loss := range losses {
		kind, name, ok := strings.Cut(loss, "/")
		if !ok {
			kind, name = string(analysis.LossNode), loss
		}
		of, ok := map[string]func(string, spec.Node) string{
			string(analysis.LossNode):     func(name string, _ spec.Node) string { return name },
			string(analysis.LossSite):     func(_ string, n spec.Node) string { return n.Site },
			string(analysis.LossProvider): func(_ string, n spec.Node) string { return n.Provider },
		}[kind]
		if !ok {
			return out, fmt.Errorf("%q is nothing that can be lost: write node/NAME, site/NAME or provider/NAME", loss)
		}
		var known []string
		found := false
		for _, node := range slices.Sorted(maps.Keys(in.Nodes)) {
			is := of(node, in.Nodes[node])
			known = append(known, is)
			if is == name {
				found = true
				out.Nodes = append(out.Nodes, node)
			}
		}
		if !found {
			slices.Sort(known)
			return out, fmt.Errorf("cluster %q has no %s %q; it has %s", in.ClusterName, kind, name, words(slices.Compact(known)))
		}
	}
	slices.Sort(out.Nodes)
	out.Nodes = slices.Compact(out.Nodes)
	out.Stops = append(out.Stops, analysis.Lose(analysis.Input{Input: in}, out.Nodes...)...)
	return out, nil
}

func (r lossReport) bad() bool { return len(r.Stops) > 0 }

func (r lossReport) text() string {
	var b strings.Builder
	if len(r.Stops) == 0 {
		fmt.Fprintf(&b, "without %s nothing of cluster %s stops (%s)\n\n", words(r.Lost), r.Cluster, words(r.Nodes))
	}
	list(&b, fmt.Sprintf("without %s (%s) this stops", words(r.Lost), words(r.Nodes)), refNames(r.Stops))
	silent(&b, r.Unanswered)
	return b.String()
}
