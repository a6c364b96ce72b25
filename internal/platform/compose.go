package platform

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"unicode"
)

// commentMark begins the line of user-data that holds the payload, in base64. To cloud-init, and to whatever else reads the
// user-data, it is a comment: a payload in any other place makes cloud-init warn, and call every boot degraded.
const commentMark = "# atoll-first-boot: "

// ErrUserDataKind is returned for user-data of which cloud-init would not know what it is.
var ErrUserDataKind = errors.New("cloud-init would not understand the user-data: it must begin with #cloud-config, #! or another of cloud-init's headers")

// ErrUserDataTaken is returned for a user's own user-data that holds first-boot data.
var ErrUserDataTaken = errors.New("the user-data must not hold first-boot data, which comes beside it")

// CheckUserData checks a user's own user-data: text that begins with one of cloud-init's headers, a MIME message, or either
// compressed by gzip.
func CheckUserData(own []byte) error {
	if len(own) > MaxPayload {
		return fmt.Errorf("the user-data has %d bytes, more than the %d that clouds take: make it smaller", len(own), MaxPayload)
	}
	if !bytes.HasPrefix(own, []byte("#")) && !isMultipart(own) && !bytes.HasPrefix(own, []byte{0x1f, 0x8b}) {
		return ErrUserDataKind
	}
	_, found, err := Extract(own)
	switch {
	case found:
		return ErrUserDataTaken
	case err != nil:
		return fmt.Errorf("the user-data is damaged: %w", err)
	}
	return nil
}

// Compose returns user-data that brings the payload (in its JSON form) and the user's own user-data, which may be empty. It is
// secret. It fails when both together are larger than Linode takes.
func Compose(payload, own []byte) (out []byte, err error) {
	line := fmt.Appendf(nil, "%s%s\n", commentMark, base64.StdEncoding.EncodeToString(payload))
	if len(own) == 0 {
		own = []byte("#cloud-config\n{}\n")
	}
	if err := CheckUserData(own); err != nil {
		return nil, err
	}
	at := headers(own)
	switch {
	case bytes.HasPrefix(own, []byte{0x1f, 0x8b}):
		return nil, errors.New("compressed user-data cannot be combined with first-boot data: give it as it was before")
	case at > 0:
		out = bytes.Join([][]byte{own[:at], line, own[at:]}, nil)
	default:
		out, err = nest(line, own)
	}
	if err == nil && len(out) > MaxPayload {
		err = fmt.Errorf("the user-data has %d bytes together with the first-boot data, more than the %d that clouds take: make it smaller", len(out), MaxPayload)
	}
	return out, err
}

// headers returns the length of the lines by which cloud-init tells that a text is a cloud-config, and maybe a template of one.
// They must stay first. It is 0 for all else: not in every script is a line with # a comment, and in a JSON patch it is an error.
func headers(text []byte) int {
	at := 0
	for line := range bytes.Lines(text) {
		at += len(line)
		switch kind := bytes.TrimRight(line, " \t\r\n"); {
		case !bytes.HasSuffix(line, []byte("\n")):
			return 0
		case bytes.Equal(kind, []byte("#cloud-config")):
			return at
		case at > len(line) || !bytes.HasPrefix(kind, []byte("## template:")):
			return 0
		}
	}
	return 0
}

// nest makes a MIME message of the comment and the user's own text or message.
func nest(line, own []byte) ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: %s\r\nMIME-Version: 1.0\r\n\r\n",
		mime.FormatMediaType("multipart/mixed", map[string]string{"boundary": parts.Boundary()}))
	add := func(header textproto.MIMEHeader, body []byte) error {
		w, err := parts.CreatePart(header)
		if err == nil {
			_, err = w.Write(body)
		}
		return err
	}
	header, body, err := part(own)
	err = errors.Join(err,
		add(textproto.MIMEHeader{"Content-Type": {"text/cloud-config"}}, append([]byte("#cloud-config\n"), append(line, "{}\n"...)...)),
		add(header, body), parts.Close())
	return b.Bytes(), err
}

// part returns the user's own text or message as the part of another message.
func part(own []byte) (header textproto.MIMEHeader, body []byte, err error) {
	if isMultipart(own) {
		message, err := mail.ReadMessage(bytes.NewReader(own))
		if err != nil {
			return nil, nil, errors.New("the user-data begins like a MIME message but is none")
		}
		header = textproto.MIMEHeader{"Content-Type": {strings.Join(message.Header["Content-Type"], "")}}
		if how := message.Header.Get("Content-Transfer-Encoding"); how != "" {
			header.Set("Content-Transfer-Encoding", how)
		}
		_, body, _ = bytes.Cut(own, headerEnd(own))
		return header, body, nil
	}
	// For text that is said to be plain, cloud-init looks at how it begins. It takes what is not ASCII for Latin-1.
	header = textproto.MIMEHeader{"Content-Type": {"text/plain"}}
	if bytes.IndexFunc(own, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return header, own, nil
	}
	header.Set("Content-Transfer-Encoding", "base64")
	for encoded := []byte(base64.StdEncoding.EncodeToString(own)); len(encoded) > 0; {
		n := min(76, len(encoded))
		body = append(append(body, encoded[:n]...), "\r\n"...)
		encoded = encoded[n:]
	}
	return header, body, nil
}

// headerEnd is what ends the header of a MIME message.
func headerEnd(message []byte) []byte {
	unix, network := bytes.Index(message, []byte("\n\n")), bytes.Index(message, []byte("\r\n\r\n"))
	if network >= 0 && (unix < 0 || network < unix) {
		return []byte("\r\n\r\n")
	}
	return []byte("\n\n")
}

// fromComment returns the payload that Compose has put into a text.
func fromComment(text []byte) (data []byte, found bool, err error) {
	for line := range bytes.Lines(text) {
		encoded, ours := bytes.CutPrefix(line, []byte(commentMark))
		if !ours {
			continue
		}
		if data, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(encoded))); err != nil {
			return nil, false, errors.New("the comment with the first-boot data was cut off or edited")
		}
		return bare(data)
	}
	return nil, false, nil
}
