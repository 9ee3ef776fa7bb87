package main

import (
	"context"
	"fmt"
	"strings"

	"stagecoach/lab/postfix"
)

// postfixSettings make a relay to the sink. smtpd_* and smtp_* limits, in_flow_delay, concurrency
// and the syncing of the queue are Postfix's defaults; TLS is off, as the load does not use it.
const postfixSettings = `myhostname = postfix.load.example
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:%s
default_process_limit = %d
`

// startPostfix starts an instance of Postfix that relays to the sink.
func startPostfix(ctx context.Context, dir, sink string, processes int) (*contender, error) {
	_, sinkPort, _ := strings.Cut(sink, ":")
	i, err := postfix.Start(ctx, dir, "127.0.0.1", fmt.Sprintf(postfixSettings, sinkPort, processes))
	if err != nil {
		return nil, err
	}
	return &contender{"postfix", i.Listen, i.PID, func() error { return i.Stop(context.WithoutCancel(ctx)) }}, nil
}
