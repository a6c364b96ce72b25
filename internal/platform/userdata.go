package platform

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// cloudConfigKey is the key of a cloud-config, and of the bare payload, that marks what is Atoll's.
const cloudConfigKey = "atoll"

// maxUserData bounds what is read of a carrier, in bytes, before and after decompression. A cloud-config may hold more
// than the payload.
const maxUserData = 16 * MaxPayload

// Extract returns the payload's JSON form out of user-data: bare, or in the comment that Compose makes, or under the key "atoll"
// of a cloud-config, or one of these as a part of a MIME message, each also compressed by gzip. Found is false for user-data
// that is for somebody else.
func Extract(userData []byte) (data []byte, found bool, err error) {
	if bytes.HasPrefix(userData, []byte{0x1f, 0x8b}) {
		if userData, err = gunzip(userData); err != nil {
			return nil, false, err
		}
	}
	if len(userData) > maxUserData {
		return nil, false, &SizeError{Size: len(userData)}
	}
	userData = bytes.TrimSpace(userData)
	if bytes.HasPrefix(userData, []byte("#")) {
		if data, found, err = fromComment(userData); found || err != nil {
			return data, found, err
		}
	}
	// cloud-init may fill in templates; a payload has nothing to fill in.
	first, rest, more := bytes.Cut(userData, []byte("\n"))
	template := more && bytes.HasPrefix(first, []byte("## template:"))
	if template {
		userData = rest
		first, _, _ = bytes.Cut(userData, []byte("\n"))
	}
	switch {
	case bytes.HasPrefix(userData, []byte("{")):
		return bare(userData)
	case bytes.Equal(bytes.TrimSpace(first), []byte("#cloud-config")):
		if data, found, err = fromCloudConfig(userData); template && !found {
			return nil, false, nil // it may become YAML when it is filled in
		}
		return data, found, err
	case isMultipart(userData):
		return fromMultipart(userData)
	default:
		return nil, false, nil
	}
}

func bare(userData []byte) (data []byte, found bool, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(userData, &keys); err != nil {
		return nil, false, errors.New("it begins like JSON but is no valid JSON: it was cut off or edited")
	}
	if _, ours := keys[cloudConfigKey]; !ours {
		return nil, false, nil
	}
	return userData, true, nil
}

func fromCloudConfig(userData []byte) (data []byte, found bool, err error) {
	var config map[string]yaml.Node
	if err := yaml.Unmarshal(userData, &config); err != nil {
		// The parser's message may quote a line of the data, which may be the secret.
		return nil, false, errors.New("it is a cloud-config but no valid YAML")
	}
	node, ours := config[cloudConfigKey]
	if !ours {
		return nil, false, nil
	}
	var value map[string]any
	if err := node.Decode(&value); err != nil {
		return nil, false, fmt.Errorf("the cloud-config's key %q is no mapping", cloudConfigKey)
	}
	data, err = json.Marshal(value)
	if err != nil {
		return nil, false, fmt.Errorf("the cloud-config's key %q cannot be written as JSON", cloudConfigKey)
	}
	return data, true, nil
}

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress user-data: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUserData+1))
	if err != nil {
		return nil, fmt.Errorf("decompress user-data: %w", err)
	}
	return plain, nil
}
