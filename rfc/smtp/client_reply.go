package smtp

import (
	"strconv"

	"stagecoach/mail"
)

// maxRefusalText bounds what a refusal repeats of a server's text.
const maxRefusalText = 400

func (r reply) ok() bool { return r.code/100 == 2 }

// refusal returns the reply as a refusal. What is neither 4yz nor 5yz where a refusal or
// success was due is trouble that may pass.
func (r reply) refusal() *mail.Refusal {
	class := r.code / 100
	if class != 4 && class != 5 {
		return mail.Defer(451, "4.5.0", "the receiving server gave an answer out of place")
	}
	status, text := r.status, printable(r.text(), maxRefusalText)
	if status == "" {
		status = strconv.Itoa(class) + ".0.0"
	}
	if text == "" {
		text = "no reason given"
	}
	return &mail.Refusal{Code: r.code, Status: status, Text: text}
}

// rcptRefusal is refusal for a reply to RCPT. A 552 without a status that says otherwise
// means too many recipients, for which RFC 5321 section 4.5.3.1.10 wants 452.
func (r reply) rcptRefusal() *mail.Refusal {
	f := r.refusal()
	if r.code == 552 && (r.status == "" || r.status == "5.5.3") {
		f.Code, f.Status = 452, "4.5.3"
	}
	return f
}
