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
	if _, found, err := Extract(own); found || err != nil {
		return errors.Join(ErrUserDataTaken, err)
	}
	return nil
}

// Compose returns user-data that brings the payload (in its JSON form) and the user's own user-data, which may be empty. It is
// secret. It fails with *SizeError when both together are larger than Linode takes.
func Compose(payload, own []byte) (out []byte, err error) {
	line := fmt.Appendf(nil, "%s%s\n", commentMark, base64.StdEncoding.EncodeToString(payload))
	if len(own) == 0 {
		own = []byte("#cloud-config\n{}\n")
	}
	if err := CheckUserData(own); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(own, []byte{0x1f, 0x8b}):
		return nil, errors.New("compressed user-data cannot be combined with first-boot data: give it as it was before")
	case isMultipart(own):
		out, err = nest(line, own)
	default:
		at := headers(own)
		out = bytes.Join([][]byte{own[:at], line, own[at:]}, nil)
	}
	if err == nil && len(out) > MaxPayload {
		err = &SizeError{Size: len(out)}
	}
	return out, err
}

// headers returns the length of the lines by which cloud-init, and then the kernel, tell what a text is. They must stay first.
func headers(text []byte) int {
	at := 0
	for line := range bytes.Lines(text) {
		known := false
		for _, mark := range []string{"## template:", "#cloud-", "#!", "#include", "#part-handler"} {
			known = known || bytes.HasPrefix(line, []byte(mark))
		}
		if !known || !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		at += len(line)
	}
	return at
}

// nest makes a MIME message of the comment and another message.
func nest(line, own []byte) ([]byte, error) {
	message, err := mail.ReadMessage(bytes.NewReader(own))
	if err != nil {
		return nil, errors.New("the user-data begins like a MIME message but is none")
	}
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
	_, body, _ := bytes.Cut(own, headerEnd(own))
	encoding := textproto.MIMEHeader{"Content-Type": {strings.Join(message.Header["Content-Type"], "")}}
	if how := message.Header.Get("Content-Transfer-Encoding"); how != "" {
		encoding.Set("Content-Transfer-Encoding", how)
	}
	err = errors.Join(
		add(textproto.MIMEHeader{"Content-Type": {"text/cloud-config"}}, append([]byte("#cloud-config\n"), append(line, "{}\n"...)...)),
		add(encoding, body), parts.Close())
	return b.Bytes(), err
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
