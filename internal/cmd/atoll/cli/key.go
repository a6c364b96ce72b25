package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func keyCommand(env Environment) *cobra.Command {
	key := &cobra.Command{Use: "key", Short: "Make and show signing keys"}
	key.AddCommand(keyNewCommand(env), keyShowCommand(env))
	return key
}

func keyNewCommand(env Environment) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a signing key, the root of all trust in a cluster",
		Long: `Makes a signing key in a file that only its owner can read, and prints its public half.

Whoever has the key can change every node of the clusters that trust it; without it nobody can change them any
more. Keep a copy in a safe place. An existing file is never overwritten.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := trust.NewSigningKey()
			if err != nil {
				return err
			}
			pem, err := key.MarshalPEM()
			if err != nil {
				return err
			}
			if err := writeSecret(out, pem); err != nil {
				return fmt.Errorf("write the signing key: %w", err)
			}
			cmd.PrintErrf("The signing key is in %s. To use it: export %s=%s\n", out, trust.EnvSigningKeyFile, out)
			_, err = fmt.Fprintln(env.Stdout, key.Public())
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "atoll-signing-key.pem", "the `file` to write the key to")
	return cmd
}

func keyShowCommand(env Environment) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the public half of a signing key",
		Long: `Prints the public half of the signing key in FILE, or of the one that ` + trust.EnvSigningKey + ` or
` + trust.EnvSigningKeyFile + ` names, and on a second line its fingerprint. The private half is never printed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := signingKey(env, args)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s\n%s\n", key.Public(), key.Public().Fingerprint())
			return err
		},
	}
}

// signingKey reads the key from the file that the first argument names, else from where the environment says.
func signingKey(env Environment, args []string) (*trust.SigningKey, error) {
	if len(args) == 0 {
		return trust.SigningKeyFromEnvironment(env.Getenv)
	}
	pem, err := os.ReadFile(args[0])
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	return trust.ParseSigningKey(pem)
}
