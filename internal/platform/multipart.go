package platform

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
)

// isMultipart tells whether user-data is in cloud-init's MIME form, which Terraform's cloudinit provider makes.
func isMultipart(userData []byte) bool {
	for _, header := range []string{"Content-Type:", "MIME-Version:"} {
		if len(userData) > len(header) && strings.EqualFold(string(userData[:len(header)]), header) {
			return true
		}
	}
	return false
}

// fromMultipart returns the payload of the first part that has one.
func fromMultipart(userData []byte) (data []byte, found bool, err error) {
	message, err := mail.ReadMessage(bytes.NewReader(userData))
	if err != nil {
		return nil, false, errors.New("it begins like a MIME message but is none")
	}
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		// A single part that somebody else understands.
		return nil, false, nil //nolint:nilerr // see above
	}
	for parts := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, errors.New("it is a MIME message that was cut off")
		}
		var body io.Reader = part
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
			body = base64.NewDecoder(base64.StdEncoding, part)
		}
		content, err := io.ReadAll(io.LimitReader(body, maxUserData+1))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, false, errors.New("it is a MIME message that was cut off")
		}
		if err != nil {
			return nil, false, fmt.Errorf("a part of the MIME message cannot be read: %w", err)
		}
		// A part in a part is nothing that cloud-init's tools make.
		if isMultipart(content) {
			continue
		}
		if data, found, err = Extract(content); found || err != nil {
			return data, found, err
		}
	}
}
