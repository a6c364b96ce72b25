package nodeimage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Format is the version of the manifest. What is newer is refused.
//
//	1: facts and files (first release).
const Format = 1

// FactsFile is where the facts are inside an image.
const FactsFile = "/usr/lib/atoll/image.json"

// Facts say what is in an image. They stand in the manifest, and inside the image at FactsFile.
type Facts struct {
	// Format is the constant Format; its key in the JSON form is what tells a manifest from other data.
	Format int `json:"atoll_image"`
	// Version is Atoll's version, for example "0.1.0".
	Version string `json:"version"`
	// Wire is the version of the wire form that the image's agent speaks, spec.WireVersion of its build.
	Wire int `json:"wire"`
	// Architecture is Debian's name of it: amd64 or arm64.
	Architecture string `json:"architecture"`
	// Debian is the release's code name, for example "trixie".
	Debian string `json:"debian"`
	// Snapshot is the time of the package archive that was used, empty when it was the archive of that day.
	Snapshot string `json:"snapshot"`
	// Databases are the database engines inside, sorted; none in the image for machines without a database.
	Databases []string `json:"databases"`
	// Built is when the build began, in UTC.
	Built time.Time `json:"built"`
	// Packages is the number of Debian packages inside.
	Packages int `json:"packages"`
}

var (
	// versionPattern is what file names, labels and tags can carry: a semantic version and what git describe adds to it.
	versionPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}$`)
	wordPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]{0,31}$`)
)

// Architectures lists the architectures that images are built for.
func Architectures() []string { return []string{"amd64", "arm64"} }

// Validate returns everything that is wrong with the facts.
func (f Facts) Validate() error {
	var errs []error
	bad := func(field, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s "+format, append([]any{field}, a...)...))
	}
	if f.Format != Format {
		return &FormatError{Format: f.Format}
	}
	if !versionPattern.MatchString(f.Version) {
		bad("version", "%q is not a version such as 0.1.0", f.Version)
	}
	if f.Wire < 1 {
		bad("wire", "is %d, the first one is 1", f.Wire)
	}
	if !slices.Contains(Architectures(), f.Architecture) {
		bad("architecture", "%q is none of %q", f.Architecture, Architectures())
	}
	if !wordPattern.MatchString(f.Debian) {
		bad("debian", "%q is not the code name of a Debian release", f.Debian)
	}
	for _, d := range f.Databases {
		if !wordPattern.MatchString(d) {
			bad("databases", "has %q, which is not the name of an engine", d)
		}
	}
	if f.Built.IsZero() {
		bad("built", "is missing")
	}
	if f.Packages < 0 {
		bad("packages", "is %d", f.Packages)
	}
	return errors.Join(errs...)
}

// FormatError says that a manifest is of a version which this software does not know.
type FormatError struct{ Format int }

// Error names both versions and the remedy.
func (e *FormatError) Error() string {
	if e.Format < 1 {
		return "it has no atoll_image, so it is not a manifest of a node image"
	}
	return fmt.Sprintf("the manifest has version %d, this software knows version %d: update it, or build the image with the version that is used here", e.Format, Format)
}

// MismatchError says that an image does not fit what it is to be used for.
type MismatchError struct {
	// What differs: "architecture" or "wire".
	What      string
	Has, Want string
}

// Error says what differs and what to do.
func (e *MismatchError) Error() string {
	if e.What == "wire" {
		return fmt.Sprintf("the image's agent speaks version %s of the wire form, this provider and its clusters version %s: "+
			"build the image with the Atoll version that the provider has", e.Has, e.Want)
	}
	return fmt.Sprintf("the image is for %s, the machines are %s: build it for %s", e.Has, e.Want, e.Want)
}

// CheckWire returns a *MismatchError unless the image's agent speaks exactly the wire form of this build: an older agent
// does not understand what is signed here, and a newer one is not understood by the nodes that are there.
func (f Facts) CheckWire() error {
	if f.Wire != spec.WireVersion {
		return &MismatchError{What: "wire", Has: fmt.Sprint(f.Wire), Want: fmt.Sprint(spec.WireVersion)}
	}
	return nil
}

// CheckArchitecture returns a *MismatchError unless the image is for machines of the architecture.
func (f Facts) CheckArchitecture(want string) error {
	if f.Architecture != want {
		return &MismatchError{What: "architecture", Has: f.Architecture, Want: want}
	}
	return nil
}

// ParseFacts reads the facts that are inside an image. Unknown keys are refused.
func ParseFacts(data []byte) (Facts, error) {
	var f Facts
	if err := strictly(data, &f); err != nil {
		return Facts{}, fmt.Errorf("read the facts of an image: %w", err)
	}
	f.normalise()
	if err := f.Validate(); err != nil {
		return Facts{}, fmt.Errorf("read the facts of an image: %w", err)
	}
	return f, nil
}

// Encode returns the facts as they stand inside an image.
func (f Facts) Encode() ([]byte, error) {
	f.normalise()
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("write the facts of an image: %w", err)
	}
	return indented(f)
}

// normalise makes equal facts equal in JSON.
func (f *Facts) normalise() {
	f.Databases = append([]string{}, f.Databases...)
	slices.Sort(f.Databases)
	f.Built = f.Built.UTC().Truncate(time.Second)
}

func indented(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return append(data, '\n'), nil
}

// strictly decodes one JSON object. A version that is not known is reported before a key that is not: it is the cause.
func strictly(data []byte, into any) error {
	var version struct {
		Format *int `json:"atoll_image"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	if version.Format == nil {
		return &FormatError{}
	}
	if *version.Format != Format {
		return &FormatError{Format: *version.Format}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}
