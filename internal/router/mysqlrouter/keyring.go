package mysqlrouter

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// keyringKeySize is how long Router makes the keys of keyrings, in characters: exactly what AES-256 takes.
const keyringKeySize = 32

// keyringVector is the initialization vector of all keyrings (MySQL Router, keyring_memory.cc).
var keyringVector = []byte{0x39, 0x62, 0x9f, 0x52, 0x7f, 0x76, 0x9a, 0xae, 0xcd, 0xca, 0xf7, 0x04, 0x65, 0x8e, 0x5d, 0x88}

// newKeyring returns the two files from which Router reads a user's password: the keyring, which will be at that path, and the
// file with its master key (MySQL Router, harness/src/keyring). Both together hold the password, so neither is for others' eyes.
//
// Router's own program for it (mysqlrouter_keyring) chooses keys by chance. These follow from the password, so that the same password
// is the same files, and a router that has them already is left alone.
func newKeyring(path, user, password string) (keyring, masterKey []byte, err error) {
	key, err := deriveKey(password, "key")
	if err != nil {
		return nil, nil, err
	}
	scramble, err := deriveKey(password, "scramble")
	if err != nil {
		return nil, nil, err
	}
	entries := binary.LittleEndian.AppendUint32(nil, 0x043d4d0a) // signature
	entries = binary.LittleEndian.AppendUint32(entries, 0)       // version of the format
	entries = binary.LittleEndian.AppendUint32(entries, 1)       // accounts
	entries = appendText(entries, user)
	entries = binary.LittleEndian.AppendUint32(entries, 1) // attributes
	entries = appendText(entries, "password")
	entries = appendText(entries, password)
	sealed, err := encrypt(key, entries)
	if err != nil {
		return nil, nil, err
	}
	keyring = append(appendText([]byte("MRKR"), scramble), sealed...)

	if sealed, err = encrypt(scramble, []byte(key)); err != nil {
		return nil, nil, err
	}
	masterKey = appendText([]byte("MRKF\x00"), path+"\x00"+string(sealed))
	return keyring, masterKey, nil
}

// deriveKey returns 32 characters that follow from a password.
func deriveKey(password, purpose string) (string, error) {
	key, err := hkdf.Key(sha256.New, []byte(password), nil, "atoll router keyring/"+purpose, keyringKeySize*3/4)
	if err != nil {
		return "", fmt.Errorf("make the router's keyring: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(key), nil
}

func appendText(to []byte, text string) []byte {
	return append(binary.LittleEndian.AppendUint32(to, uint32(len(text))), text...) //nolint:gosec // a password or a path
}

// encrypt is AES-256 in CBC mode with PKCS #7 padding.
func encrypt(key string, data []byte) ([]byte, error) {
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		return nil, fmt.Errorf("make the router's keyring: %w", err)
	}
	padding := aes.BlockSize - len(data)%aes.BlockSize
	out := append(bytes.Clone(data), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, keyringVector).CryptBlocks(out, out)
	return out, nil
}
